"""Segmenter: label maps of images and videos in three lines of code."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import tee
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.inference.exported import ExportedModel, exported_version
from keras_dpn.inference.forward import num_labels
from keras_dpn.inference.images import check_image, resize, size_of_shorter_side
from keras_dpn.inference.loading import load_trained
from keras_dpn.inference.predictor import Predictor
from keras_dpn.inference.settings import InferenceSettings
from keras_dpn.inference.video import Flow
from keras_dpn.io.alpha import composite_on_black
from keras_dpn.io.formats import is_video
from keras_dpn.limits import MAX_PIXELS, SizeError, size_error
from keras_dpn.segmentation import Segmentation


class Segmenter:
    """Segment images and videos with a trained network.

    It resizes an image to the size that the network was trained on, divides it into tiles if it
    doesn't fit into memory, and resizes the result to the image's size.

    Args:
        models: a network that returns logits (B, H, W, L) from RGB images 0-255; several, whose
            probabilities are averaged; or one for clips, as `models.SpatialTemporalDPN`.
        classes: `keras_dpn.Classes`, names and colours of the L labels.
        settings: scales, horizontal flip, tiles; see `InferenceSettings`.
        heads: names of the heads to keep in `Segmentation.maps`; the labels are those of the last.
            "all", or None for the final one.
        crf: keyword arguments of `keras_dpn.crf.refine`, for a fully connected CRF as
            post-processing.
        size: shorter side in pixels to which images are resized first; None to keep their size.
        lowest_confidence: mean confidence, 0 to 1, below which an image counts as unfamiliar.
        description: the network in one line.

    Attributes:
        classes: as given.
        size: as given.
        lowest_confidence: as given.
        predictor: the `Predictor` that runs the network.
        description: as given.

    Raises:
        ValueError: for values out of these ranges.

    Example:

    >>> segmenter = Segmenter.from_preset("dpn_scenes")
    >>> result = segmenter(np.zeros((96, 128, 3), "uint8"))
    >>> result.labels.shape
    (96, 128)
    """

    def __init__(
        self,
        models: keras.Model | Sequence[keras.Model],
        classes: Classes,
        settings: InferenceSettings | None = None,
        *,
        heads: Sequence[str] | Literal["all"] | None = None,
        crf: Mapping[str, Any] | None = None,
        size: int | None = None,
        lowest_confidence: float | None = None,
        description: str = "",
    ) -> None:
        if size is not None and size < 1:
            raise ValueError(
                f"Invalid value for argument `size`: expected pixels from 1 up, received {size}."
            )
        self.predictor = Predictor(models, settings, heads=heads, crf=crf)
        labels = max((num_labels(model) or 0 for model in self.predictor.models), default=0)
        if labels > classes.num_classes:
            raise ValueError(
                f"Invalid value for argument `classes`: expected a name for each of {labels} "
                f"labels of the network, received {classes.num_classes}."
            )
        self.classes = classes
        self.size = size
        self.lowest_confidence = lowest_confidence
        self.description = description

    @classmethod
    def from_preset(
        cls,
        preset: str | Path | Sequence[str | Path],
        *,
        scales: Sequence[float] = (1.0,),
        horizontal_flip: bool = False,
        tile: int | None = None,
        memory_gib: float | None = 4.0,
        heads: Sequence[str] | Literal["all"] | None = None,
        crf: Mapping[str, Any] | None = None,
        precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32",
        size: int | None | Literal["preset"] = "preset",
        max_pixels: int = MAX_PIXELS,
    ) -> "Segmenter":
        """Load a trained network.

        Args:
            preset: name of an included preset (`keras_dpn.presets.available()`), a preset's
                directory, the directory of a finished training run, or
                `hf://org/name[@revision]`. Several are averaged.
            scales: factors for the image's height and width; the probabilities are averaged.
            horizontal_flip: average with the prediction on the flipped image.
            tile: side in pixels of the tiles that larger images are divided into; None for the
                largest that fit into `memory_gib`.
            memory_gib: GiB that one forward pass may take; None for whole images of any size.
                Ignored for networks for clips.
            heads: names of the heads to keep; "all", or None for the final one.
            crf: keyword arguments of `keras_dpn.crf.refine`, {} for its defaults; None for no CRF.
            precision: dtype that the network computes in.
            size: shorter side to which images are resized first; "preset" for the size that the
                network was trained on, None to keep their size.
            max_pixels: largest number of pixels of an image, also after it is resized.

        Raises:
            ValueError: for an unknown name, damaged files, values out of their ranges.
            OSError: where a download fails.
        """
        sources = [preset] if isinstance(preset, (str, Path)) else list(preset)
        trained = load_trained(sources, precision)
        settings = InferenceSettings(
            scales=scales,
            horizontal_flip=horizontal_flip,
            tile=tile,
            memory_gib=memory_gib if tile is None else None,
            max_pixels=max_pixels,
        )
        return cls(
            trained.models,
            trained.classes,
            settings,
            heads=heads,
            crf=crf,
            size=trained.size if size == "preset" else size,
            lowest_confidence=trained.lowest_confidence,
            description=trained.description,
        )

    @classmethod
    def from_export(
        cls,
        directory: str | Path,
        *,
        scales: Sequence[float] = (1.0,),
        horizontal_flip: bool = False,
        crf: Mapping[str, Any] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> "Segmenter":
        """Load an exported network of images, which `keras_dpn.export.export` wrote.

        A SavedModel is a program: open only those whose maker you trust. Whole images go through
        it, without tiles, as the server sees them. Without the output "probabilities" the label of
        each pixel counts as certain.

        Args:
            directory: the model's directory, whose highest version is taken, or a version's.
            scales: as in `from_preset`; others than 1 need the output "probabilities".
            horizontal_flip: as in `from_preset`; needs it too.
            crf: as in `from_preset`; needs it too.
            max_pixels: largest number of pixels of an image, if the export's isn't less, which
                counts at the largest scale.

        Raises:
            ValueError: if there is no such model, it takes clips or names no classes, resizes
                images itself and `scales` has others than 1, an option needs probabilities that it
                doesn't return, or Keras runs on another backend than TensorFlow.
        """
        version = exported_version(directory)
        if version is None:
            raise ValueError(f"{directory}: expected an exported model, received none.")
        model = ExportedModel(version)
        settings = InferenceSettings(scales=scales, horizontal_flip=horizontal_flip)
        largest = max(1.0, *settings.scales)
        if model.resizes and settings.scales != (1.0,):
            raise ValueError(
                f"{version}: expected scales of 1.0, since the model resizes images itself, "
                f"received {settings.scales}."
            )
        # The model sees the largest scale.
        model_pixels = max(1, int(model.max_pixels / largest**2))
        settings = replace(settings, max_pixels=min(max_pixels, model_pixels))
        if not model.has_probabilities and (crf is not None or not settings.is_plain):
            raise ValueError(
                f"{version}: scales, the horizontal flip and the CRF need the probabilities. "
                "Export it with the output `probabilities`."
            )
        return cls(model, model.classes, settings, crf=crf)

    @property
    def max_pixels(self) -> int:
        """Largest number of pixels of an image, from the settings."""
        return self.predictor.settings.max_pixels

    def __call__(self, source: Any) -> Segmentation | list[Segmentation] | Iterator[Segmentation]:
        """Segment an image, several images, or a video.

        Args:
            source: path of an image or of a video; an image as an array (H, W, 3), RGB, 0-255,
                uint8 or float, as one with alpha channel (H, W, 4), uint8, or as a Pillow image; or
                a list of these, without videos. Transparent pixels are composited on black.

        Returns:
            `Segmentation`; a list of them for a list; an iterator over the frames for a video.

        Raises:
            ValueError: if the file can't be read or the source is no image; the message names it.
            TypeError: for another type.
        """
        if isinstance(source, (list, tuple)):
            return [self.image(item) for item in source]
        if isinstance(source, (str, Path)) and is_video(Path(source)):
            return self.video(source)
        return self.image(source)

    def image(self, source: Any) -> Segmentation:
        """Segment one image: a path, an array or a Pillow image, see `__call__`."""
        image = _read(source, self.max_pixels)
        maps = self.predictor.probabilities(self._resized(image))
        path = Path(source) if isinstance(source, (str, Path)) else None
        return self._segmentation(image, maps, path)

    def labels(self, source: Any) -> np.ndarray:
        """Return only the label map of one image, uint8 (H, W), in the least memory.

        Args:
            source: as in `image`.
        """
        image = _read(source, self.max_pixels)
        resized = self._resized(image)
        if resized.shape == image.shape:  # tile by tile, without the whole image's probabilities
            return self.predictor.labels(image)
        return self._segmentation(image, self.predictor.probabilities(resized), None).labels

    def video(
        self, source: str | Path | Iterable[Any], flow: Flow | None = None
    ) -> Iterator[Segmentation]:
        """Yield the `Segmentation` of each frame of a video, in constant memory.

        Args:
            source: path of a video, or its frames, each as in `image`; an iterator is fine.
            flow: as in `Predictor.video`, between frames of the size that the network sees;
                OpenCV's DIS where the network needs flow and none is given.

        Raises:
            ValueError: if the file, which the message names, can't be read; and as
                `Predictor.video`.
        """
        if isinstance(source, (str, Path)):
            from keras_dpn.io.video import VideoReader  # needs PyAV

            source = VideoReader(source, max_pixels=self.max_pixels)
        if self.predictor.needs_flow and flow is None:
            from keras_dpn.io.flow import dis_flow as flow  # needs OpenCV
        frames, kept = tee(
            frame if isinstance(frame, np.ndarray) else _read(frame, self.max_pixels)
            for frame in source
        )
        predicted = self.predictor.video(map(self._resized, frames), flow)
        for maps, frame in zip(predicted, kept, strict=False):
            yield self._segmentation(frame, maps, None)

    def _segmentation(
        self, image: np.ndarray, maps: Mapping[str, np.ndarray], source: Path | None
    ) -> Segmentation:
        return Segmentation(
            image, maps, self.classes, source=source, lowest_confidence=self.lowest_confidence
        )

    def _resized(self, image: np.ndarray) -> np.ndarray:
        """Return the image at the size that the network was trained on, in its own dtype."""
        image = check_image(image, self.max_pixels)
        if self.size is None or min(image.shape[:2]) == self.size:
            return image
        height, width = image.shape[:2]
        height, width = size_of_shorter_side(height, width, self.size, self.max_pixels)
        resized = resize(image, height, width)
        return np.rint(resized).astype("uint8") if image.dtype == np.uint8 else resized


def _read(source: Any, max_pixels: int) -> np.ndarray:
    if isinstance(source, np.ndarray):
        has_alpha = source.ndim == 3 and source.shape[-1] == 4 and source.dtype == np.uint8
        return check_image(composite_on_black(source) if has_alpha else source, max_pixels)
    from PIL import Image

    from keras_dpn.io.images import read_image, to_rgb

    if isinstance(source, (str, Path)):
        return read_image(Path(source), max_pixels)
    if isinstance(source, Image.Image):
        if message := size_error(source.height, source.width, max_pixels):
            raise SizeError(f"Invalid value for argument `source`: {message}")
        return to_rgb(source, "the image")
    raise TypeError(
        "Invalid value for argument `source`: expected a path, an array (H, W, 3) or a Pillow "
        f"image, received {type(source).__name__}."
    )
