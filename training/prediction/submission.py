"""Archives for the evaluation servers of PASCAL VOC 2012 and Cityscapes.

VOC's archive holds results/VOC2012/Segmentation/comp6_test_cls/NAME.png, palette PNG files of the
21 labels: the competition of those who trained with other data too, as pre-trained weights are.
Cityscapes' holds CITY_SEQUENCE_FRAME_labelIds.png, grey PNG files of its own ids at full size. The
name's ending says whether it is a .zip, .tar, .tgz or .tar.gz; both servers take .zip or .tgz.
"""

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from keras_dpn import viz
from keras_dpn.inference import Predictor
from keras_dpn.io.images import read_image

from ..data.dataset import Dataset, Example
from ..data.sets.cityscapes import IDS
from ..data.sets.voc import CLASSES as VOC_CLASSES
from ..rundir.paths import write_atomically
from ..utils.progress import progress

Files = Iterable[tuple[str, bytes]]


def submit(predictor: Predictor, dataset: Dataset, split: str, out: Path) -> int:
    """Labels a split and writes the archive, whole or not at all. Shows its progress on stderr.

    Args:
        predictor: of the data set's classes; its last head is what counts.
        dataset: VOC or Cityscapes.
        split: "test", or one with labels, to try the server's own tools on.
        out: the archive, *.zip, *.tar, *.tgz or *.tar.gz.

    Returns:
        How many pictures.

    Raises:
        ValueError: on another data set or ending, a split that is not there or not complete, and
            naming the file, on a picture that can't be read.
    """
    if dataset.name not in _FORMATS:
        raise ValueError(f"Expected one of the data sets {sorted(_FORMATS)}, got {dataset.name}.")
    write = _writer(out)
    examples = _examples(dataset, split)

    def files() -> Iterator[tuple[str, bytes]]:
        for example in progress(examples, f"{dataset.name} {split}", len(examples)):
            image = read_image(example.image)
            yield _FORMATS[dataset.name](example, predictor.labels(image))

    write_atomically(out, lambda temporary: write(temporary, files()))
    return len(examples)


def _examples(dataset: Dataset, split: str) -> tuple[Example, ...]:
    examples = {**dataset.splits, **dataset.unlabelled}.get(split, ())
    expected = dataset.expected_size.get(split)
    if not examples or expected and len(examples) != expected:
        raise ValueError(
            f"{dataset.name} {split}: expected {expected or 'some'} pictures, found "
            f"{len(examples)}; unpack the archive that has them in the data set's directory."
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


def _writer(out: Path) -> Callable[[Path, Files], None]:
    """What writes an archive with the ending of that name."""
    endings = {
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


def _write_tar(path: Path, files: Files, mode: str) -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
