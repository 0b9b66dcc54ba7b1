"""What several GPUs would gain, computed from bytes, operations and bandwidths; nothing is timed.

    python -m benchmarks.scaling [--network-gbit 100] [--images 4] [--crop 321]

Each GPU takes as many images however many there are, and all gradients are summed once a step: by
rings within each host, of `gpus_per_host` GPUs, and by a ring between the hosts, whose GPUs share
one network card (hierarchical all-reduce). A ring of n members sends 2 (n - 1) / n of the bytes.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import math
from dataclasses import dataclass
from typing import Annotated

import keras
import tyro

from keras_dpn.models import DPN

GRADIENT_BYTES = 4  # float32, also under mixed_bfloat16
PASSES = 3  # a training step is a forward pass and, twice as long, a backward pass
NUM_GPUS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Assumptions:
    """The hardware, by default that of hosts of 8 A100 with 100 Gbit/s Ethernet."""

    images: int = 4
    """Images per GPU and step."""
    crop: int = 321
    """Height and width of the images."""
    teraflops: float = 312.0
    """Peak of a GPU in the precision of training, in 10^12 operations per second."""
    utilization: float = 0.4
    """Fraction of the peak that a step reaches."""
    gpus_per_host: int = 8
    """GPUs of a host."""
    host_gbyte: float = 250.0
    """Bandwidth between the GPUs of a host, per direction, in 10^9 bytes per second."""
    network_gbit: float = 100.0
    """Bandwidth of a host's network card, per direction, in 10^9 bits per second."""


ASSUMED = Assumptions()


def step_seconds(operations, assumptions):
    """Return the time of a step's computation on one GPU.

    Args:
        operations: of one image's forward pass, additions and multiplications.
        assumptions: the hardware.
    """
    rate = assumptions.teraflops * 1e12 * assumptions.utilization
    return PASSES * operations * assumptions.images / rate


def all_reduce_seconds(num_bytes, num_gpus, assumptions):
    """Return the time in which the gradients of all GPUs are summed."""
    local = min(num_gpus, assumptions.gpus_per_host)
    hosts = -(-num_gpus // assumptions.gpus_per_host)
    within = 2 * (local - 1) / local * num_bytes / (assumptions.host_gbyte * 1e9)
    between = 2 * (hosts - 1) / hosts * num_bytes / (assumptions.network_gbit * 1e9 / 8)
    return within + between


def speedups(compute, communication, num_gpus):
    """Return the gain over one GPU: if both times follow each other, and if they overlap."""
    alone = compute / (compute + communication)
    return num_gpus * alone, num_gpus * compute / max(compute, communication)


def rows(parameters, operations, assumptions):
    """Return for each number of GPUs: the times in seconds and both speedups."""
    compute = step_seconds(operations, assumptions)
    table = []
    for num_gpus in NUM_GPUS:
        communication = all_reduce_seconds(GRADIENT_BYTES * parameters, num_gpus, assumptions)
        table.append((num_gpus, communication, *speedups(compute, communication, num_gpus)))
    return compute, table


def forward_operations(model):
    """Return the additions and multiplications of a model's convolutions for one image.

    Args:
        model: of inputs of a known size.
    """
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return sum(
        2 * math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
        for layer in convolutions
    )


def main(assumptions: Annotated[Assumptions, tyro.conf.OmitArgPrefixes] = ASSUMED):
    """Print a table for each of two networks."""
    for backbone in ("vgg16", "large_fov"):
        size = (assumptions.crop, assumptions.crop, 3)
        model = DPN(21, backbone=backbone, input_shape=size).head_model("unary")
        parameters, operations = model.count_params(), forward_operations(model)
        compute, table = rows(parameters, operations, assumptions)
        print(f"{backbone}: {parameters / 1e6:.0f} M parameters, ", end="")
        print(f"{GRADIENT_BYTES * parameters / 1e6:.0f} MB of gradients, ", end="")
        print(f"{operations / 1e9:.0f} GFLOP per image, {1e3 * compute:.1f} ms per step")
        print("| GPUs | all-reduce, ms | speedup | with overlap |\n|---|---|---|---|")
        for num_gpus, seconds, without, overlapped in table:
            print(f"| {num_gpus} | {1e3 * seconds:.1f} | {without:.1f} | {overlapped:.1f} |")


if __name__ == "__main__":
    tyro.cli(main)
