"""Predictor: class probabilities of whole images and videos, from one network or several."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_dpn.crf import refine
from keras_dpn.inference.forward import (
    check_heads,
    fixed_size,
    forward_function,
    image_shape,
    mean_of_views,
    num_labels,
    split_model,
)
from keras_dpn.inference.images import check_image
from keras_dpn.inference.settings import InferenceSettings
from keras_dpn.inference.tiles import OVERLAP, Tile, predict_tiles, side_for_memory, stitch
from keras_dpn.inference.video import Flow, clip_logits
from keras_dpn.models import traits
from keras_dpn.probabilities import class_probabilities, to_labels
from keras_dpn.typing import Models

LEAVING_SECONDS = 2.0  # to wait for an image that nobody takes


class Predictor:
    """Predict the class probabilities of whole images and videos of any size.

    An image is resized to each of the scales (bilinear, antialiased); the probabilities at each
    scale are resized back and averaged, also over several networks. With tiles, an image of more
    than tile x tile pixels is divided into overlapping squares of at most that side, so that the
    memory of a forward pass does not grow with the image. A network whose receptive field reaches
    no further than 3/8 of the overlap then predicts the same as on the whole image (with
    `horizontal_flip` if the image's width is a multiple of its stride); global operations, such as
    ParseNet's global context, cover only the tile.

    Args:
        models: takes RGB images (B, H, W, 3) with values 0-255, returns logits (B, H, W, L). Or
            several, whose probabilities are averaged. Or one network for clips, such as
            `models.SpatialTemporalDPN`, which takes the frames of a video unscaled. Images are
            resized to the size of a network that takes only one, as with b12's learned filters, and
            never divided into tiles for it.
        settings: scales, horizontal flip and tiles.
        heads: names of heads, in their order, such as ("unary", "final"), or one name; "all" for
            all heads; None for the networks' output only, as "final".
        crf: keyword arguments of `crf.refine`, such as {"num_iterations": 5}; each head is then
            followed by "HEAD+crf", its prediction refined by a fully connected CRF.

    Attributes:
        heads: names of the predictions, including those of the CRF, in order.
        settings: as given, with the tile that fits into the memory.
        crf: as given.
        clip_frames: how many frames a network for clips spans; None for images.
        needs_flow: whether it needs the optical flow between the frames.

    Raises:
        ValueError: without a model, for models with different numbers of labels, an unknown head,
            too small a memory, tiles or scales for a network of one size, and for a network for
            clips with settings other than the defaults or together with other networks.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    >>> predictor = Predictor(model, InferenceSettings(scales=(1.0, 2.0)))
    >>> predictor.probabilities(np.zeros((7, 9, 3), "uint8"))["final"].shape
    (7, 9, 5)
    """

    def __init__(
        self,
        models: Models,
        settings: InferenceSettings | None = None,
        *,
        heads: Sequence[str] | str | None = None,
        crf: Mapping[str, Any] | None = None,
    ) -> None:
        settings = settings or InferenceSettings()
        several = isinstance(models, (list, tuple))
        self.models: tuple[keras.Model, ...] = tuple(models) if several else (models,)
        if not self.models:
            raise ValueError(
                "Invalid value for argument `models`: expected one or more, received none."
            )
        first, traits_of_first = self.models[0], traits(self.models[0])
        if heads == "all" and not traits_of_first.heads:
            heads = None
        self._network_heads = None if heads is None else check_heads(first, heads)
        if self._network_heads is not None:
            for other in self.models[1:]:
                check_heads(other, self._network_heads)
        if len(counts := {n for n in map(num_labels, self.models) if n is not None}) > 1:
            raise ValueError(
                "Invalid value for argument `models`: expected the same number of labels, received "
                f"models with {' and '.join(map(str, sorted(counts)))}."
            )
        self.crf = None if crf is None else dict(crf)
        self.heads = self._with_crf_heads(self._network_heads or ("final",))
        self.clip_frames: int | None = traits_of_first.clip_frames
        self.needs_flow: bool = traits_of_first.needs_flow
        takes_one_size = any(map(fixed_size, self.models))
        if takes_one_size and settings.tile is None:
            settings = replace(settings, memory_gib=None)  # it doesn't grow with the image
        if all(traits(model).clip_frames is None for model in self.models):
            if settings.memory_gib is not None:
                memory = settings.memory_gib * 2**30
                tile = side_for_memory(self.models, memory, settings.scales, settings.overlap)
                settings = replace(settings, tile=tile, memory_gib=None)
        elif len(self.models) > 1 or not settings.is_plain:
            raise ValueError(
                "A network for clips doesn't support other models, scales, the horizontal flip "
                "and tiles: leave them out."
            )
        if takes_one_size and (settings.scales != (1.0,) or settings.tile is not None):
            raise ValueError(
                "Invalid value for argument `scales` or `tile`: expected (1.0,) and None for a "
                f"network that takes images of one size, received {settings.scales} and "
                f"{settings.tile}."
            )
        self.settings = settings
        self._channels = next(iter(image_shape(first)[-1:]), None) or 3

    def probabilities(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the class probabilities of every pixel of an image at each head.

        Args:
            image: (H, W, 3), uint8 or float, RGB, 0-255; or with as many channels as the models
                take.

        Returns:
            float32 (H, W, L) by the head's name; each pixel's values sum to 1. A network of one
            class has two labels, not the class and the class.

        Raises:
            ValueError: if the image is not (H, W, 3) or empty, is neither uint8 nor finite floats,
                a model's output is not (1, H, W, L), or the network is for clips.
        """
        image = check_image(image, self.settings.max_pixels, self._channels)
        maps = stitch(self._tiles(image), image.shape[:2])
        return self._refined(image, maps)

    def labels(self, image: np.ndarray) -> np.ndarray:
        """Return the most probable class of every pixel at the last head.

        With tiles and without a CRF, it never stores the probabilities of the whole image.

        Args:
            image: as in `probabilities`.

        Returns:
            uint8 (H, W), or int32 above 256 classes.
        """
        if self.crf is not None:
            return to_labels(self.probabilities(image)[self.heads[-1]])
        image = check_image(image, self.settings.max_pixels, self._channels)
        labelled = ((y, x, [to_labels(maps[-1])]) for y, x, maps in self._tiles(image))
        return stitch(labelled, image.shape[:2])[0]

    def images(self, images: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield `probabilities` of one image after another, of any sizes.

        While a network processes an image, a thread prefetches the next two from `images`, so that
        a generator may read and decode them at no cost. `images` may be infinite. Leaving early
        waits at most two seconds for the image that is being read.
        """
        remaining, reader = iter(images), ThreadPoolExecutor(1)
        try:
            waiting = deque(reader.submit(next, remaining, None) for _ in range(2))
            while (image := waiting.popleft().result()) is not None:
                waiting.append(reader.submit(next, remaining, None))
                yield self.probabilities(image)
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
            # What is read may then be closed. A stream's next image may never come.
            wait([future for future in waiting if not future.cancelled()], LEAVING_SECONDS)

    def video(
        self, frames: Iterable[np.ndarray], flow: Flow | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield the class probabilities of a video's frames, in constant memory.

        A network for images processes each frame separately. A network for clips processes each
        frame with its neighbours and computes the unary term once per frame; the video is padded
        with copies of its first and last frame, which no flow links.

        Args:
            frames: uint8 or float (H, W, 3), RGB, 0-255; an iterator is fine. For a network
                for clips all of one size.
            flow: function from two frames to the flow from the first to the second, float
                (H, W, 2), (dx, dy) in pixels; or pairs of the flow from each frame to the next and
                back. Networks with `needs_flow` need it, others ignore it.

        Yields:
            As `probabilities`, for each frame in order, with a delay of `clip_frames` // 2 frames.

        Raises:
            ValueError: without the flow that the network needs, for flow or frames of other sizes,
                flow with NaN, and as `probabilities`.
        """
        if self.clip_frames is None:
            yield from map(self.probabilities, frames)
            return
        if self.needs_flow and flow is None:
            raise ValueError(
                "Invalid value for argument `flow`: expected a function from two frames to the "
                "flow between them, since the network links its frames by flow, received None."
            )
        flow = flow if self.needs_flow else None
        (model,) = self.models
        terms, field = split_model(model, self._network_heads)
        checked = (check_image(frame, self.settings.max_pixels, self._channels) for frame in frames)
        frames, kept = itertools.tee(checked)
        for logits, frame in zip(
            clip_logits(terms, field, frames, flow, self.clip_frames), kept, strict=False
        ):
            yield self._refined(frame, [class_probabilities(x) for x in logits])

    def clip(self, frames: Sequence[np.ndarray], flow: Flow | None = None) -> dict[str, np.ndarray]:
        """Return the class probabilities of a clip's center frame.

        Args:
            frames: an odd number of them, as in `video`.
            flow: as in `video`; `zip(forward_flow, backward_flow)` for a clip with both as arrays.

        Raises:
            ValueError: for an even number of frames, and as `video`.
        """
        if len(frames) % 2 == 0:
            raise ValueError(
                "Invalid value for argument `frames`: expected an odd number of them, so that one "
                f"is in the center, received {len(frames)}."
            )
        return next(itertools.islice(self.video(frames, flow), len(frames) // 2, None))

    def _with_crf_heads(self, heads: Sequence[str]) -> tuple[str, ...]:
        if self.crf is None:
            return tuple(heads)
        return tuple(name for head in heads for name in (head, f"{head}+crf"))

    def _refined(self, image: np.ndarray, maps: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Return the maps of the heads by name, each followed by its refinement by the CRF."""
        if self.crf is not None:
            maps = [p for map_ in maps for p in (map_, refine(image, map_, **self.crf))]
        return dict(zip(self.heads, maps, strict=True))

    def _tiles(self, image: np.ndarray) -> Iterator[Tile]:
        if self.clip_frames is not None:
            raise ValueError(
                "The network is for clips: use `video`, or `clip` for the center one of some "
                "frames."
            )
        settings = self.settings
        flips = (False, True) if settings.horizontal_flip else (False,)
        forwards = [
            (forward_function(model, self._network_heads), fixed_size(model))
            for model in self.models
        ]
        views = list(itertools.product(settings.scales, flips, forwards))
        return predict_tiles(
            lambda tile: mean_of_views(tile, views), image, settings.tile, settings.overlap
        )


def predict_probabilities(
    model: Models,
    image: np.ndarray,
    scales: Sequence[float] = (1.0,),
    horizontal_flip: bool = False,
    tile: int | None = None,
    overlap: int = OVERLAP,
) -> np.ndarray:
    """Return the class probabilities of every pixel of one image, float32 (H, W, L).

    Args:
        model: as in `Predictor`; so are the other arguments.
        image: (H, W, 3), uint8 or float, RGB, 0-255.
        scales: factors for height and width.
        horizontal_flip: average with the prediction on the flipped image.
        tile: side of the tiles in pixels; None for the whole image at once.
        overlap: pixels that neighbouring tiles share.

    Raises:
        ValueError: as `Predictor` and its `probabilities`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    >>> predict_probabilities(model, np.zeros((7, 9, 3), "uint8"), scales=(1.0, 2.0)).shape
    (7, 9, 5)
    """
    settings = InferenceSettings(
        scales=scales, horizontal_flip=horizontal_flip, tile=tile, overlap=overlap
    )
    return Predictor(model, settings).probabilities(image)["final"]


def predict_labels(
    model: Models,
    image: np.ndarray,
    scales: Sequence[float] = (1.0,),
    horizontal_flip: bool = False,
    tile: int | None = None,
    overlap: int = OVERLAP,
) -> np.ndarray:
    """Return the most probable class of every pixel: uint8 (H, W), or int32 above 256 classes.

    Args and Raises as in `predict_probabilities`.
    """
    settings = InferenceSettings(
        scales=scales, horizontal_flip=horizontal_flip, tile=tile, overlap=overlap
    )
    return Predictor(model, settings).labels(image)
