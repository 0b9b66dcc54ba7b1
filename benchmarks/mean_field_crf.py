"""MeanFieldCRF next to pydensecrf: marginals, time, pruning, batches, memory, training, and XLA.

    pip install pydensecrf2
    python -m benchmarks.mean_field_crf --images DIR [--repeats 5] [--only xla] [--threads 1]
    python -m benchmarks.mean_field_crf --images DIR --only pruning \
        --network FILE --photos DIR

DIR of --images holds images NAME.png and label maps NAME_labels.png. The unary term is made from
the label map: blurred, so that its edges are off, with smooth noise for each of 21 classes. Both
run 10 iterations, alternately in one process, pydensecrf in one thread, TensorFlow in one per core,
or in --threads. FILE is a network (.keras), whose unary terms for every 60th file in DIR of
--photos are pruned instead.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
import tyro
from PIL import Image
from scipy import ndimage

from keras_dpn.inference import Predictor
from keras_dpn.io.images import read_image
from keras_dpn.layers import MeanFieldCRF
from keras_dpn.models.model_file import load_model
from keras_dpn.ops import permutohedral, pruning_error_bound

# (w1, sa, sb): the three that circulate with DeepLab's code and pydensecrf's, and two between.
SETTINGS = ((4, 121, 5), (5, 50, 3), (10, 80, 13), (4, 49, 5), (3, 160, 20))
LABELS = 21
ITERATIONS = 10
EVERY = 60  # of the photos, which may be the frames of a video


def read(images: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (H, W, 3) and synthetic logits (H, W, 21) made from its label map."""
    image = np.array(Image.open(images / f"{name}.png").convert("RGB"))
    labels = np.array(Image.open(images / f"{name}_labels.png"))
    noise = np.random.default_rng(0)
    logits = [
        6 * ndimage.gaussian_filter((labels == label).astype("float32"), 8)
        + 6 * ndimage.gaussian_filter(noise.normal(size=labels.shape), 4)
        for label in range(LABELS)
    ]
    return image, np.stack(logits, axis=-1).astype("float32")


def pydensecrf(image: np.ndarray, probabilities: np.ndarray, setting) -> Callable[[], np.ndarray]:
    """Return pydensecrf's inference of an image, whose energies it has prepared."""
    from pydensecrf.densecrf import DenseCRF2D

    height, width = image.shape[:2]
    labels = probabilities.shape[-1]
    w1, sa, sb = setting
    energies = -np.log(probabilities).transpose(2, 0, 1).reshape(labels, -1)
    energies, image = np.ascontiguousarray(energies), np.ascontiguousarray(image)

    def infer() -> np.ndarray:
        crf = DenseCRF2D(width, height, labels)
        crf.setUnaryEnergy(energies)
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=sa, srgb=sb, rgbim=image, compat=w1)
        marginals = np.array(crf.inference(ITERATIONS)).reshape(labels, height, width)
        return marginals.transpose(1, 2, 0)

    return infer


def compiled(xla=False, **settings):
    layer = MeanFieldCRF(num_iterations=ITERATIONS, **settings)
    return tf.function(lambda logits, image: tf.nn.softmax(layer((logits, image))), jit_compile=xla)


def seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(images: Path, name: str, setting, repeats: int) -> None:
    image, logits = read(images, name)
    probabilities = tf.nn.softmax(logits).numpy()
    unary, guide = tf.math.log(probabilities)[None], tf.constant(image)[None]
    crf = compiled(bilateral=setting)

    theirs = pydensecrf(image, probabilities, setting)

    def ours():
        return crf(unary, guide)[0].numpy()

    peer, found = theirs(), ours()
    times = [(seconds(theirs), seconds(ours)) for _ in range(repeats)]
    ratio = statistics.median(b / a for a, b in times)
    medians = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"{name}  {setting!s:14}  {np.abs(found - peer).max():.1e}  "
        f"{100 * np.mean(found.argmax(-1) == peer.argmax(-1)):.4f}%     ",
        "      ".join(f"{median:.2f} s" for median in medians),
        f"    {ratio:.2f}",
        flush=True,
    )


def pruning(
    images: Path, names: list[str], repeats: int, network: Path | None, photos: Path | None
) -> None:
    """Time with and without labels that are improbable everywhere; the error next to its bound.

    The largest difference is that between the marginals with and without these labels' messages.
    """
    if network is None:
        cases = [(name, *read(images, name)) for name in names]
    else:
        cases, predictor = [], Predictor(load_model(network))
        for path in sorted(photos.iterdir())[::EVERY]:
            image = read_image(path)
            probabilities = predictor.probabilities(image)["final"]
            cases.append((path.stem, image, np.log(np.maximum(probabilities, 1e-9))))
    print("image                threshold  labels   pydensecrf   all    pruned   difference  bound")
    for name, image, logits in cases:
        probabilities = tf.nn.softmax(logits).numpy()
        unary, guide = tf.math.log(probabilities)[None], tf.constant(image)[None]
        functions = {"pydensecrf": pydensecrf(image, probabilities, SETTINGS[0])}
        for threshold in (0.0, 1e-4, 1e-3):
            crf = compiled(prune_below=threshold)
            functions[threshold] = lambda crf=crf, u=unary, g=guide: crf(u, g)[0].numpy()
        found = {key: function() for key, function in functions.items()}
        times = [
            {k: seconds(function) for k, function in functions.items()} for _ in range(repeats)
        ]
        layer = MeanFieldCRF(1)
        certain = np.zeros_like(logits)
        certain[..., 0] = 30
        message = layer((certain[None], guide))[0].numpy()
        strength = (message[..., 0] - message[..., 1]).max() - 30
        for threshold in (1e-4, 1e-3):
            dropped = probabilities.max(axis=(0, 1)) < threshold
            rest = probabilities[..., dropped].sum(axis=-1).max()
            print(
                f"{name:20} {threshold:9g}  {(~dropped).sum():2} of {len(dropped)}  ",
                f"{statistics.median(row['pydensecrf'] for row in times):.2f} s     ",
                "    ".join(
                    f"{statistics.median(row[key] / row['pydensecrf'] for row in times):.2f}"
                    for key in (0.0, threshold)
                ),
                f"    {np.abs(found[threshold] - found[0.0]).max():.1e}    ",
                f"{pruning_error_bound(threshold, rest, strength, ITERATIONS):.1e}",
                flush=True,
            )


def batch(images: Path, name: str, repeats: int) -> None:
    """Time an image and its flips, eight in all, at once and one by one."""
    for size in ((120, 160), (240, 320), (320, 480)):
        image, logits = (array[: size[0], : size[1]] for array in read(images, name))
        flips = [(a, b, c) for a in (1, -1) for b in (1, -1) for c in (0, 1)]
        guides, unaries = (
            tf.constant(np.stack([np.roll(x[::a, ::b], c, axis=1) for a, b, c in flips]))
            for x in (image, logits)
        )
        crf, each = compiled(), compiled(prune_below=1e-12)

        def singles(crf=crf, guides=guides, unaries=unaries):
            for i in range(8):
                crf(unaries[i : i + 1], guides[i : i + 1]).numpy()

        def together(crf=crf, guides=guides, unaries=unaries):
            crf(unaries, guides).numpy()

        def in_turn(crf=each, guides=guides, unaries=unaries):
            crf(unaries, guides).numpy()

        functions = singles, together, in_turn
        for function in functions:
            function()
        times = [[seconds(function) for function in functions] for _ in range(repeats)]
        ratios = [statistics.median(row[i] / row[0] for row in times) for i in (1, 2)]
        print(
            f"8 of {size[0]}x{size[1]}: one by one {statistics.median(t[0] for t in times):.2f} s, "
            f"as a batch {ratios[0]:.2f}, image by image in one call {ratios[1]:.2f} of that",
            flush=True,
        )


def static(**settings):
    """The form of the lattice that XLA compiles, without XLA."""
    with mock.patch.object(permutohedral, "_has_sparse_products", return_value=False):
        crf = compiled(**settings)
        return crf.get_concrete_function(
            tf.TensorSpec((None, None, None, LABELS)), tf.TensorSpec((None, None, None, 3), "uint8")
        )


def xla(images: Path, name: str, repeats: int) -> None:
    """The lattice's two forms, the static one without XLA and as Keras compiles it on a GPU."""
    image, logits = (array[:240, :320] for array in read(images, name))
    inputs = tf.constant(logits)[None], tf.constant(image)[None]
    forms = {"sparse products": compiled, "static": static, "static, XLA": lambda: compiled(True)}
    functions, expected = {form: build() for form, build in forms.items()}, None
    print("240x320x21           first call   then     ratio   largest difference")
    for form, crf in functions.items():
        first = seconds(lambda crf=crf: crf(*inputs).numpy())
        found = crf(*inputs).numpy()
        expected = found if expected is None else expected
        functions[form] = crf, first, np.abs(found - expected).max()
    times = [
        [seconds(lambda crf=crf: crf(*inputs).numpy()) for crf, _, _ in functions.values()]
        for _ in range(repeats)
    ]
    for i, (form, (_, first, apart)) in enumerate(functions.items()):
        taken, ratio = (
            statistics.median(
                row[i] / divisor for row, divisor in zip(times, divisors, strict=True)
            )
            for divisors in ([1] * repeats, [row[0] for row in times])
        )
        print(f"{form:20} {first:6.1f} s   {taken:6.2f} s   {ratio:.2f}   {apart:.1e}", flush=True)


def _large(height: int, width: int, labels: int) -> tuple[float, float, float]:
    """Return the peak memory and that before, GiB, and the seconds, of one large image."""
    rows, columns = np.mgrid[:height, :width]
    texture = np.random.default_rng(0).integers(0, 30, (height, width, 3))
    image = np.clip(rows[..., None] // 8 + columns[..., None] // 16 + texture, 0, 255)
    logits = np.random.default_rng(1).normal(size=(height, width, labels)).astype("float32")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = seconds(lambda: compiled()(logits[None], image[None].astype("uint8")).numpy())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, before / 2**20, taken


def memory(threads: int | None, size: tuple[int, int, int] = (1024, 2048, 19)) -> None:
    """Print the peak memory of a process that refines one large image."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, set_threads, (threads,)) as executor:
        peak, before, taken = executor.submit(_large, *size).result()
    height, width, labels = size
    print(f"{height}x{width}x{labels}: {peak:.2f} GiB at most, {before:.2f} before; {taken:.1f} s")


def training_step(images: Path, name: str, repeats: int, labels: int = 11) -> None:
    """Forward and backward through 5 iterations with learned weights and compatibility."""
    crf = MeanFieldCRF(5, compatibility="matrix", trainable_weights_of=("weights", "compatibility"))
    image = read(images, name)[0][:304, :400]
    guide = tf.constant(np.stack([image[::a, ::b] for a in (1, -1) for b in (1, -1)]))
    random = np.random.default_rng(0)
    logits = tf.constant(random.normal(size=(*guide.shape[:3], labels)), "float32")
    truth = random.integers(0, labels, guide.shape[:3])

    @tf.function
    def step(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = keras.losses.sparse_categorical_crossentropy(
                truth, crf((logits, guide), training=True), from_logits=True
            )
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, [logits, *crf.trainable_variables])

    step(logits)
    taken = statistics.median(seconds(lambda: step(logits)[0].numpy()) for _ in range(repeats))
    size = "x".join(str(n) for n in logits.shape)
    print(f"training step, 5 iterations, {size}: {taken:.2f} s")


def set_threads(threads: int | None) -> None:
    """Give TensorFlow N threads, before it runs anything; by default one per core."""
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def image_names(images: Path) -> list[str]:
    """Return the names of the images that have a label map.

    Raises:
        ValueError: if there is none, or one has no label map.
    """
    names = sorted(path.stem for path in images.glob("*.png") if "_labels" not in path.stem)
    missing = [name for name in names if not (images / f"{name}_labels.png").is_file()]
    if missing or not names:
        raise ValueError(
            f"{images}: expected images NAME.png and label maps NAME_labels.png, received "
            f"{'no image' if not names else 'none of ' + ', '.join(missing)}."
        )
    return names


def main(
    images: Path,
    repeats: int = 5,
    only: Literal["xla", "pruning", "batch"] | None = None,
    network: Path | None = None,
    photos: Path | None = None,
    threads: int | None = None,
) -> None:
    names = image_names(images)
    if (network is None) != (photos is None):
        raise ValueError("--network and --photos: expected both of them, or none.")
    set_threads(threads)
    print(f"threads: pydensecrf 1, TensorFlow {threads or len(os.sched_getaffinity(0))}")
    if only == "xla":
        return xla(images, names[0], repeats)
    if only == "pruning":
        return pruning(images, names, repeats, network, photos)
    if only == "batch":
        return batch(images, names[0], repeats)
    print("image        (w1, sa, sb)    apart    labels equal   pydensecrf   ours     ratio")
    for name in names:
        for setting in SETTINGS:
            compare(images, name, setting, repeats)
    pruning(images, names, repeats, network, photos)
    batch(images, names[0], repeats)
    training_step(images, names[0], repeats)
    xla(images, names[0], repeats)
    memory(threads)


if __name__ == "__main__":
    tyro.cli(main)
