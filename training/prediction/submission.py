"""Archives for the evaluation servers of PASCAL VOC 2012 and Cityscapes.

VOC's archive contains results/VOC2012/Segmentation/comp6_test_cls/NAME.png, palette PNG files of
the 21 labels: the competition for training with other data too, such as pretrained weights.
Cityscapes' contains CITY_SEQUENCE_FRAME_labelIds.png, grey PNG files of its own ids at full size.
The suffix says whether it is a .zip, .tar, .tgz or .tar.gz; both servers take .zip or .tgz.
"""

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from keras_dpn import viz
from keras_dpn.inference import Predictor
from keras_dpn.io.images import read_image

from ..data.dataset import Dataset, Example
from ..data.sets.cityscapes import IDS
from ..data.sets.voc import CLASSES as VOC_CLASSES
from ..utils.files import atomic_file
from ..utils.progress import progress

Files = Iterable[tuple[str, bytes]]


def submit(predictor: Predictor, dataset: Dataset, split: str, out: Path) -> int:
    """Predict a split and write the archive, atomically. Shows its progress on stderr.

    Args:
        predictor: of the dataset's classes; its last head counts.
        dataset: VOC or Cityscapes.
        split: "test", or one with labels, to test with the server's tools.
        out: the archive, *.zip, *.tar, *.tgz or *.tar.gz.

    Returns:
        The number of images.

    Raises:
        ValueError: on another dataset or suffix, a split that is missing or incomplete, and, naming
            the file, on an image that can't be read.
    """
    if dataset.name not in _FORMATS:
        raise ValueError(
            f"Expected one of the datasets {sorted(_FORMATS)}, received {dataset.name}."
        )
    write = _archive_writer(out)
    examples = _examples(dataset, split)

    def files() -> Iterator[tuple[str, bytes]]:
        for example in progress(examples, f"{dataset.name} {split}", len(examples)):
            image = read_image(example.image_file)
            yield _FORMATS[dataset.name](example, predictor.labels(image))

    with atomic_file(out) as temporary:
        write(temporary, files())
    return len(examples)


def _examples(dataset: Dataset, split: str) -> tuple[Example, ...]:
    examples = {**dataset.splits, **dataset.unlabelled}.get(split, ())
    expected = dataset.expected_size.get(split)
    if not examples or expected and len(examples) != expected:
        raise ValueError(
            f"{dataset.name} {split}: expected {expected or 'some'} images, received "
            f"{len(examples)}; unpack the archive that has them in the dataset's directory."
        )
    return examples


def _voc_file(example: Example, labels: np.ndarray) -> tuple[str, bytes]:
    name = f"results/VOC2012/Segmentation/comp6_test_cls/{example.name}.png"
    return name, viz.label_png(labels, VOC_CLASSES.colors)


def _cityscapes_file(example: Example, labels: np.ndarray) -> tuple[str, bytes]:
    stream = io.BytesIO()
    Image.fromarray(np.array(IDS, "uint8")[labels]).save(stream, "PNG")
    return f"{example.name}_labelIds.png", stream.getvalue()


_FORMATS = {"voc": _voc_file, "cityscapes": _cityscapes_file}


def _archive_writer(out: Path) -> Callable[[Path, Files], None]:
    """Return the function that writes an archive of that suffix."""
    endings: dict[str, Callable[[Path, Files], None]] = {
        ".zip": _write_zip,
        ".tar": partial(_write_tar, mode="w"),
        ".tgz": partial(_write_tar, mode="w:gz"),
        ".tar.gz": partial(_write_tar, mode="w:gz"),
    }
    for ending, write in endings.items():
        if out.name.endswith(ending):
            return write
    raise ValueError(f"{out}: expected a name that ends in {', '.join(endings)}.")


def _write_zip(path: Path, files: Files) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)


def _write_tar(path: Path, files: Files, mode: Literal["w", "w:gz"]) -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
