"""Change bytes of images and label maps, and read them by every reader."""

import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from . import Outcome

IMAGES, LABEL_MAPS = 10_000, 1_000
SIZE = (24, 32)


def run(folder: Path, seed: int, scale: float) -> Iterator[Outcome]:
    """Yield how many changed files were read, how many were refused, and what else happened."""
    import tensorflow as tf

    from keras_dpn import Classes, Segmenter, models
    from keras_dpn.export.images import decode_image, encoded_size
    from keras_dpn.io.images import ImageError, read_image
    from training.data.io.images import read_label

    logging.getLogger("PIL").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # of Pillow, about broken metadata
    rng = np.random.default_rng(seed)
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    segmenter = Segmenter(models.FCN(3, width=0.03125), classes)

    @tf.function(input_signature=[tf.TensorSpec((), "string")], autograph=False)
    def serve(data):
        with tf.control_dependencies([encoded_size(data, 10_000)]):
            return decode_image(tf.identity(data))

    def served(path: Path) -> object:
        return serve(path.read_bytes())

    def labelled(path: Path) -> object:
        return segmenter.labels(path)

    images, maps = _images(rng), _label_maps(rng)
    for name, reader, files, count, refusals in (
        ("images, `read_image`", read_image, images, IMAGES, ImageError),
        ("images, `Segmenter`", labelled, images, IMAGES, (ImageError, ValueError)),
        ("images, served", served, images, IMAGES, tf.errors.InvalidArgumentError),
        ("label maps", lambda path: read_label(path, classes), maps, LABEL_MAPS, ImageError),
    ):
        repeats = max(1, round(count * scale))
        counts, failures = _try(reader, files, repeats, refusals, folder / "file", rng)
        result = f"{counts['read']} read, {counts['refused']} refused"
        yield Outcome(f"{repeats} changed {name}", result, tuple(failures))


def _try(
    read: Callable[[Path], object],
    files: list[bytes],
    repeats: int,
    refusals: type[Exception] | tuple[type[Exception], ...],
    path: Path,
    rng: np.random.Generator,
) -> tuple[Counter[str], list[str]]:
    counts: Counter[str] = Counter()
    failures = []
    for number in range(repeats):
        content = _changed(files[number % len(files)], rng)
        path.write_bytes(content)
        try:
            read(path)
            counts["read"] += 1
        except refusals:
            counts["refused"] += 1
        except Exception as error:
            failures.append(f"file {number}: {type(error).__name__}: {str(error)[:200]}")
    return counts, failures


def _changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with some bytes changed, inserted or cut off."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        # Headers matter most.
        end = min(len(data), 64) if rng.random() < 0.25 else len(data)
        position = int(rng.integers(end))
        kind = rng.integers(4)
        if kind == 0:
            data[position] = rng.integers(256)
        elif kind == 1:
            data[position : position + 4] = rng.integers(0, 256, 4, "uint8").tobytes()
        elif kind == 2:
            data[position:position] = bytes(data[position : position + int(rng.integers(1, 64))])
        elif len(data) > 64:
            del data[max(position, 32) :]
    return bytes(data)


def _images(rng: np.random.Generator) -> list[bytes]:
    rgb = Image.fromarray(rng.integers(0, 256, (*SIZE, 3), "uint8"))
    deep = Image.fromarray(rng.integers(0, 2**16, SIZE, "uint16"))
    return [
        *(_encoded(rgb, form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")),
        *(_encoded(rgb.convert(mode), "PNG") for mode in ("RGBA", "LA", "L", "1", "P")),
        _encoded(rgb, "JPEG", progressive=True),
        _encoded(rgb.convert("CMYK"), "JPEG"),
        _encoded(deep, "PNG"),
        _encoded(rgb, "GIF", save_all=True, append_images=[rgb.rotate(90)]),
    ]


def _label_maps(rng: np.random.Generator) -> list[bytes]:
    labels = Image.fromarray(rng.integers(0, 3, SIZE, "uint8"))
    colors = labels.copy().convert("P")
    colors.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [0] * 759)
    return [
        _encoded(labels, "PNG"),
        _encoded(colors, "PNG"),
        _encoded(colors.convert("RGB"), "PNG"),
    ]


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()
