"""ops.local_conv at 512x512x21: windows against each other and against a direct sum.

    python -m benchmarks.local_conv [--repeats 7]

The peer is the straightforward direct sum: a compiled loop over the window's offsets, each of
which adds the squared distance times the shifted probabilities.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics
import time

import tensorflow as tf
import tyro

from keras_dpn.ops import local_conv


@tf.function
def direct_sum(p, features, window: int):
    before, size = window // 2, tf.shape(p)
    padding = [[0, 0], [before, window - 1 - before], [before, window - 1 - before], [0, 0]]
    p_padded, f_padded = tf.pad(p, padding), tf.pad(features, padding)
    out = tf.zeros_like(p)
    for y in tf.range(window):
        for x in tf.range(window):
            there = f_padded[:, y : y + size[1], x : x + size[2]]
            distance = tf.reduce_sum((features - there) ** 2, axis=-1, keepdims=True)
            out += distance * p_padded[:, y : y + size[1], x : x + size[2]]
    return out


def median_seconds(function, repeats):
    function()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main(size: int = 512, labels: int = 21, repeats: int = 7):
    p = tf.nn.softmax(tf.random.normal((1, size, size, labels), seed=0))
    features = tf.random.uniform((1, size, size, 3), maxval=255.0, seed=1)
    compiled = tf.function(local_conv)
    seconds = {}
    for window in (10, 50, 100):
        seconds[window] = median_seconds(
            lambda window=window: compiled(p, features, window).numpy(), repeats
        )
        print(f"local_conv, window {window:3d}: {seconds[window]:.3f} s")
    direct = median_seconds(lambda: direct_sum(p, features, 50).numpy(), min(3, repeats))
    error = tf.reduce_max(abs(direct_sum(p, features, 50) - compiled(p, features, 50)))
    scale = tf.reduce_max(direct_sum(p, features, 50))
    print(f"direct sum, window  50: {direct:.2f} s, {direct / seconds[50]:.0f} times as long")
    print(f"window 100 / window 10: {seconds[100] / seconds[10]:.2f}")
    print(f"largest difference / largest value: {float(error / scale):.1e}")


if __name__ == "__main__":
    tyro.cli(main)
