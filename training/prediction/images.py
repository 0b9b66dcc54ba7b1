"""Predict image files: read, predict and write at the same time."""

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from keras_dpn import viz
from keras_dpn.classes import Classes
from keras_dpn.io.images import ImageError, read_image
from keras_dpn.limits import SizeError
from keras_dpn.models.heads import head_of
from keras_dpn.segmentation import Segmentation
from keras_dpn.segmenter import Segmenter

from ..rundir.outputs import Outputs
from ..utils.files import write_bytes
from ..utils.progress import progress
from ..utils.threads import prefetch_map
from .manifest import ImageOutput, result_file
from .remote import Source
from .results import FileResult, image_result

logger = logging.getLogger("keras_dpn")

# Probabilities of an image, 64 MB, beyond which only its labels are predicted, tile by tile.
_KEPT = 2**24


def predict_images(
    segmenter: Segmenter,
    sources: Mapping[str, Source],
    out: Path,
    outputs: Sequence[ImageOutput] = ("labels",),
    files: Outputs | None = None,
    on_result: Callable[[FileResult], None] = lambda result: None,
) -> list[Source]:
    """Predict image files and write the results.

    While the network predicts one image, threads read the next ones and write the previous results.
    Each file is written atomically. Progress is shown on stderr; files that can't be read are
    logged at the end.

    Args:
        segmenter: with all heads if the outputs include "heads".
        sources: image files by the names of their results, from `find_sources`.
        out: directory for the results.
        outputs: what to write. "labels" are palette PNGs, "overlays" show the labels' colours over
            the image, "heads" show the label map of each of the network's heads side by side, and
            "probabilities" are (H, W, L), float16, compressed, key "probabilities".
        files: writes and records the results, and refuses to replace files of others; None: any
            file is replaced.
        on_result: called with what became of each image, in their order.

    Returns:
        The files that could not be read. All others are written.

    Raises:
        ValueError: as `Segmenter`.
        OSError: if a result can't be written.
    """
    needs_probabilities = bool({"heads", "probabilities"} & set(outputs))
    read = partial(_read, max_pixels=segmenter.max_pixels)
    samples = prefetch_map(read, sources.items())
    predicted = (_predict(segmenter, sample, needs_probabilities) for sample in samples)
    write = partial(
        _write_results,
        classes=segmenter.classes,
        out=out,
        outputs=outputs,
        write=files.write_bytes if files else write_bytes,
    )
    errors: dict[Source, ImageError] = {}
    try:
        written = prefetch_map(write, predicted)
        for sample, result in progress(written, "predicting", len(sources)):
            if sample.error is not None:
                errors[sample.source] = sample.error
            on_result(result)
    finally:
        for error in errors.values():
            logger.warning("skipped: %s", error)
    return list(errors)


@dataclass(frozen=True)
class _Sample:
    """An image file with its content or error.

    Args:
        name: name of its results.
        source: the file.
        image: uint8 (H, W, 3); None if it can't be read, or has been written.
        error: why it can't be read, or is too large for the network.
    """

    name: str
    source: Source
    image: np.ndarray | None = None
    error: ImageError | None = None


@dataclass(frozen=True)
class _Prediction:
    """The labels of an image, uint8 (H, W), and its probabilities unless only these are known."""

    image: np.ndarray
    labels: np.ndarray
    segmentation: Segmentation | None = None


def _read(item: tuple[str, Source], max_pixels: int) -> _Sample:
    try:
        file = item[1] if isinstance(item[1], Path) else item[1].open()
        return _Sample(*item, image=read_image(file, max_pixels))
    except ImageError as error:
        return _Sample(*item, error=error)


def _predict(
    segmenter: Segmenter, sample: _Sample, needs_probabilities: bool
) -> tuple[_Sample, _Prediction | None]:
    """Return the sample without its image, and its prediction if there is one."""
    image, rest = sample.image, replace(sample, image=None)
    if image is None:
        return rest, None
    try:
        if not needs_probabilities and _has_labels_alone(segmenter, image):
            return rest, _Prediction(image, segmenter.labels(image))
        segmentation = segmenter.image(image)
    except SizeError as error:  # such as of one row, as the network sees it
        return replace(rest, error=ImageError(f"{sample.source}: {error}")), None
    return rest, _Prediction(image, segmentation.labels, segmentation)


def _has_labels_alone(segmenter: Segmenter, image: np.ndarray) -> bool:
    """Return whether a model returns no probabilities, or those of the image take much memory."""
    if not all(getattr(m, "has_probabilities", True) for m in segmenter.predictor.models):
        return True  # an exported model
    height, width = image.shape[:2]
    return segmenter.size is None and height * width * segmenter.classes.num_classes > _KEPT


def _write_results(
    item: tuple[_Sample, _Prediction | None],
    classes: Classes,
    out: Path,
    outputs: Sequence[ImageOutput],
    write: Callable[[Path, bytes], None],
) -> tuple[_Sample, FileResult]:
    sample, prediction = item
    if prediction is None:
        return sample, FileResult("image", sample.name, problems=[str(sample.error)])
    for output in outputs:
        content = _encode(prediction, classes, output)
        write(result_file(out, output, sample.name), content)
    result = image_result(sample.name, prediction.labels, classes.num_classes)
    if (found := prediction.segmentation) is not None:
        result = replace(result, confidence=found.confidence, is_unfamiliar=found.is_unfamiliar)
    return sample, result


def _encode(prediction: _Prediction, classes: Classes, output: ImageOutput) -> bytes:
    labels, segmentation = prediction.labels, prediction.segmentation
    if output == "labels":
        return viz.label_png(labels, classes.colors, classes.ignore)
    if output == "overlays":
        overlay = viz.overlay(prediction.image, labels, classes.colors, classes.ignore)
        return viz.image_png(overlay)
    if segmentation is None:
        raise ValueError(f"{output}: expected a prediction with probabilities.")
    if output == "heads":
        return viz.image_png(draw_heads(segmentation))
    stream = io.BytesIO()
    probabilities = segmentation.probabilities.astype("float16")
    np.savez_compressed(stream, probabilities=probabilities, names=np.array(classes.names))
    return stream.getvalue()


def draw_heads(segmentation: Segmentation) -> np.ndarray:
    """Draw an image, its labels at each head and a legend in one image: uint8 (h, w, 3)."""
    classes = segmentation.classes
    label_maps = [
        viz.colorize(segmentation.head_labels(head), classes.colors, classes.ignore)
        for head in segmentation.maps
    ]
    titles = ["image", *(head_of(head).title for head in segmentation.maps)]
    row = viz.side_by_side([segmentation.image, *label_maps], titles)
    font_size = int(np.clip(row.shape[1] / 110, 11, 22))
    return viz.stack([row, viz.legend(classes.names, classes.colors, row.shape[1], font_size)])
