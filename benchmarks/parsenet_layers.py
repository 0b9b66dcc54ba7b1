"""L2NormScale compared with a copy of its input, and what late fusion adds to ParseNet.

    python -m benchmarks.parsenet_layers [--repeats 100]

The layer runs on a map of 1x60x80x512, compiled, alone and with the gradients of input and scale.
A copy is one real copy of the map, and of its gradient on the way back. Late fusion with
normalisation is timed as what it adds to the network's head, the layers after b10, at 21 classes
and 360x480. What is compared runs in turn in one process, and a ratio is the median over the
rounds.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import random
import statistics
import time

import keras
import tensorflow as tf
import tyro
from rich.console import Console
from rich.table import Table

from keras_dpn.layers import L2NormScale
from keras_dpn.models import ParseNet

MAP = (1, 60, 80, 512)


@tf.custom_gradient
def copy(x):
    return tf.raw_ops.DeepCopy(x=x), lambda dy: tf.raw_ops.DeepCopy(x=dy)


def layer_contestants() -> dict:
    """Functions without arguments, by (name, direction)."""
    layer, unit = L2NormScale(), keras.layers.UnitNormalization()
    layer.build(MAP)
    layer.scale.assign(tf.random.uniform(MAP[-1:], seed=2))
    x, upstream = (tf.random.normal(MAP, seed=seed) for seed in (0, 1))

    def directions(function):
        def both(x, upstream):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
            return y, tape.gradient(y, [x, layer.scale.value], upstream)

        forward, both = tf.function(function), tf.function(both)
        return {"forward": lambda: forward(x), "and backward": lambda: both(x, upstream)}

    functions = {
        "copy": copy,
        "UnitNormalization, scale": lambda x: unit(x) * layer.scale,
        "L2NormScale": lambda x: layer(x),
    }
    _, theirs, ours = (function(x) for function in functions.values())
    print(f"L2NormScale and its peer differ by at most {tf.reduce_max(abs(ours - theirs)):.1e}")
    return {
        (name, direction): timed
        for name, function in functions.items()
        for direction, timed in directions(function).items()
    }


def head(network) -> keras.Model:
    """What comes after b10, as a model of b10 and the image, whose size it gives its output."""
    b10 = network.get_layer("b10").output
    return keras.Model((b10, network.input), network.output)


def network_contestants(network, height: int, width: int) -> dict:
    """Functions without arguments, by part."""
    image = tf.random.uniform((1, height, width, 3), maxval=255.0, seed=0)
    features = keras.Model(network.input, network.get_layer("b10").output)(image)
    whole, after = tf.function(network), tf.function(head(network))
    return {"network": lambda: whole(image), "head": lambda: after((features, image))}


def seconds(functions: dict, repeats: int) -> dict:
    """Seconds of each round, by name; the order changes from round to round."""
    taken = {name: [] for name in functions}
    for i in range(repeats + 1):
        for name in random.sample(list(functions), len(functions)):
            started = time.perf_counter()
            functions[name]()  # on a CPU it returns when the result is there
            if i:  # the first call compiles
                taken[name].append(time.perf_counter() - started)
    return taken


def layer_table(repeats: int) -> Table:
    taken = seconds(layer_contestants(), repeats)
    size = "x".join(map(str, MAP))
    table = Table("what", "direction", "median, ms", "to a copy", title=f"{size}, {repeats} rounds")
    for (name, direction), own in taken.items():
        pairs = zip(own, taken["copy", direction], strict=True)
        ratio = statistics.median(mine / copied for mine, copied in pairs)
        table.add_row(name, direction, f"{1000 * statistics.median(own):.2f}", f"{ratio:.2f}")
    return table


def network_table(height: int, width: int, repeats: int) -> Table:
    networks = {
        "fc7 alone": ParseNet(fusion=None, normalize=False),
        "late fusion, normalised": ParseNet(fusion="late", normalize=True),
    }
    contestants = {
        (name, part): function
        for name, network in networks.items()
        for part, function in network_contestants(network, height, width).items()
    }
    taken = seconds(contestants, repeats)
    medians = {key: 1000 * statistics.median(values) for key, values in taken.items()}
    table = Table("", "parameters", "network, ms", "head, ms", title=f"{height}x{width}")
    rows = [
        [network.count_params(), medians[name, "network"], medians[name, "head"]]
        for name, network in networks.items()
    ]
    for name, (count, whole, after) in zip(networks, rows, strict=True):
        table.add_row(name, f"{count:,}", f"{whole:.1f}", f"{after:.2f}")
    (count, whole, before), (count_late, _, after) = rows
    shares = 100 * (count_late - count) / count, 100 * (after - before) / whole
    table.add_row("added, % of fc7 alone's network", *(f"{share:.2f}" for share in shares), "")
    return table


def main(height: int = 360, width: int = 480, repeats: int = 100, network_repeats: int = 9) -> None:
    Console().print(layer_table(repeats))
    Console().print(network_table(height, width, network_repeats))


if __name__ == "__main__":
    tyro.cli(main)
