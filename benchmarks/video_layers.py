"""ops.warp and the linked 3-D b12 at 360x480, next to cv2.remap and the 2-D layer.

    python -m benchmarks.video_layers [--repeats 9]

A clip of three frames with 11 labels pans and zooms. The 3-D layers label all three frames with
windows of 3x50x50, or the middle one alone, linking their probabilities and colours included unless
they are "linked before"; the 2-D layer has a window of 50x50. All run in turn in one process, and a
ratio is the median over the rounds.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics
import time

import cv2
import numpy as np
import tensorflow as tf
import tyro
from rich.console import Console
from rich.table import Table

from keras_dpn.layers import DynamicNodeLink, LocalConv2D, LocalConv3D
from keras_dpn.ops import warp

FRAMES, LABELS, WINDOW = 3, 11, 50
ZOOM, PAN = 1.02, (2.3, -1.4)


def flows(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Forward and backward flow (1, T-1, H, W, 2) of a camera that pans and zooms."""
    positions = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    centre = np.array([width, height]) / 2
    forward = (ZOOM - 1) * (positions - centre) + PAN
    backward = (positions - centre - PAN) / ZOOM + centre - positions
    return tuple(
        np.broadcast_to(flow, (1, FRAMES - 1, *flow.shape)).astype("float32")
        for flow in (forward, backward)
    )


def remapped(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """What `warp` does, by OpenCV, which takes four channels at a time."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype="float32") + flow[..., 0]
    y = np.arange(height, dtype="float32")[:, None] + flow[..., 1]
    parts = [
        cv2.remap(np.ascontiguousarray(image[..., i : i + 4]), x, y, cv2.INTER_LINEAR)
        for i in range(0, image.shape[-1], 4)
    ]
    return np.concatenate(parts, axis=-1)


def contestants(height: int, width: int) -> dict:
    """Functions without arguments, by what they do."""
    forward, backward = (tf.constant(flow) for flow in flows(height, width))
    size = (1, FRAMES, height, width)
    p = tf.nn.softmax(tf.random.normal((*size, LABELS), seed=0))
    colors = tf.random.uniform((*size, 3), maxval=255.0 / 32, seed=1)
    link = DynamicNodeLink(FRAMES)
    flat, deep = LocalConv2D(WINDOW), LocalConv3D((FRAMES, WINDOW, WINDOW))

    @tf.function
    def warped(image, flow):
        return warp(image, flow)

    @tf.function
    def flat_layer(p, colors):
        return flat((p, colors))

    @tf.function
    def deep_layer(p, colors):
        return deep((p, colors))

    @tf.function
    def linked(p, colors, *flows):
        p, colors = (link((x, *flows) if flows else x)[0] for x in (p, colors))
        return deep((p, colors))

    @tf.function
    def linked_middle(p, colors, *flows):
        middle = slice(FRAMES // 2, FRAMES // 2 + 1)
        p, colors = (link((x, *flows))[0][:, middle] for x in (p, colors))
        return deep((p, colors))

    neighbors = [link((x, forward, backward))[0] for x in (p, colors)]
    image, flow = p[0, 1], forward[0, 0]
    ours, theirs = warped(image, flow).numpy(), remapped(image.numpy(), flow.numpy())
    print(f"warp and cv2.remap differ by at most {np.abs(ours - theirs).max():.1e}")
    return {
        "cv2.remap": lambda: remapped(image.numpy(), flow.numpy()),
        "warp": lambda: warped(image, flow).numpy(),
        "b12, 2-D, one frame": lambda: flat_layer(p[:, 1], colors[:, 1]).numpy(),
        "b12, 2-D, each frame": lambda: flat_layer(p[0], colors[0]).numpy(),
        "b12, 3-D, static": lambda: linked(p, colors).numpy(),
        "b12, 3-D, linked": lambda: linked(p, colors, forward, backward).numpy(),
        "b12, 3-D, linked, the middle frame": lambda: linked_middle(
            p, colors, forward, backward
        ).numpy(),
        "b12, 3-D, linked before": lambda: deep_layer(*neighbors).numpy(),
    }


def seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main(height: int = 360, width: int = 480, repeats: int = 9) -> None:
    functions = contestants(height, width)
    for function in functions.values():
        function()  # the first call compiles
    rounds = [{name: seconds(f) for name, f in functions.items()} for _ in range(repeats)]
    size = f"{height}x{width}x{LABELS}"
    table = Table("what", "median, ms", "ratio", "to", title=f"{size}, {repeats} rounds")
    for name in functions:
        base = "b12, 2-D, one frame" if name.startswith("b12") else "cv2.remap"
        median = statistics.median(taken[name] for taken in rounds)
        ratio = statistics.median(taken[name] / taken[base] for taken in rounds)
        table.add_row(name, f"{1000 * median:.1f}", f"{ratio:.2f}", base)
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
