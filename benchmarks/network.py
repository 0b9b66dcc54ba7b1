"""The fraction of b12-b15 in the forward time of Table 1(b) at 512x512.

    python -m benchmarks.network [--backbone vgg16] [--repeats 5]

The whole network and its unary part run in turn in one process; the fraction is the difference.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics
import time
from typing import Literal

import keras
import numpy as np
import tyro

from keras_dpn.models import DPN


def main(
    backbone: Literal["vgg16", "large_fov"] = "vgg16",
    precision: Literal["float32", "mixed_bfloat16"] = "float32",
    size: int = 512,
    repeats: int = 5,
):
    keras.config.set_dtype_policy(precision)
    model = DPN(num_classes=21, backbone=backbone)
    unary = model.head_model("unary")
    image = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype("float32")
    seconds = {"whole": [], "unary": []}
    for i in range(repeats + 1):
        for name, network in (("unary", unary), ("whole", model)):
            started = time.perf_counter()
            network.predict_on_batch(image)
            if i:
                seconds[name].append(time.perf_counter() - started)
    whole, without = (statistics.median(seconds[name]) for name in ("whole", "unary"))
    print(f"{backbone}, {precision}, {size}x{size}, {model.count_params() / 1e6:.1f} M parameters")
    print(f"whole network {whole:.2f} s, b1-b11 alone {without:.2f} s")
    print(f"b12-b15: {100 * (whole - without) / whole:.1f}% of the forward time")


if __name__ == "__main__":
    tyro.cli(main)
