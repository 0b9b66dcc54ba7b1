"""Deterministic tf.data pipelines for training and evaluation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ...configs.schema import Augmentation
from ...utils.counts import counted
from ..clips.base import Clip
from ..dataset import Dataset
from . import transforms
from .augmentation import augment
from .cache import cached_read_function, read_function
from .clips import ClipInputs
from .part import WHOLE, Part

# The functions have no `if` or `for` over tensors, which AutoGraph would translate in seconds.
_as_written = tf.autograph.experimental.do_not_convert


def steps_per_epoch(dataset: Dataset, split: str, batch_size: int) -> int:
    """Return the number of full batches in a split; the remainder is left out of the epoch.

    Raises:
        ValueError: if there is no full batch, or on an unknown split.
    """
    _check_batch_size(batch_size)
    count = len(dataset.examples(split))
    if count < batch_size:
        raise ValueError(
            f"The split {split!r} of {dataset.name} has {counted(count, 'example')}, fewer than a "
            f"batch of {batch_size}. Lower --data.batch-size, or that of the stage."
        )
    return count // batch_size


def train_dataset(
    dataset: Dataset,
    split: str,
    *,
    batch_size: int,
    augmentation: Augmentation,
    seed: int,
    first_epoch: int = 0,
    epochs: int,
    cache: bool = True,
    clips: ClipInputs | None = None,
    resize: tuple[int, int] | None = None,
    steps_per_update: int = 1,
    part: Part = WHOLE,
) -> tf.data.Dataset:
    """Return the training batches of epochs `first_epoch` .. `epochs` - 1, one after the other.

    The order of an epoch depends on (seed, epoch) alone and each augmentation on (seed, epoch,
    position) alone: a run resumed at an epoch has the same batches as an uninterrupted one.
    Every epoch has `steps_per_epoch(...)` full batches; give that number to `fit`. The parts of
    several processes, one after the other, are the batches of one process.

    Args:
        dataset: where the examples come from; images may differ in size.
        split: one of the dataset's.
        batch_size: images per batch, over all replicas.
        augmentation: the augmentation of the images.
        seed: any integer.
        first_epoch: the first epoch, counted from 0.
        epochs: the epoch to stop before.
        cache: keep each decoded example in memory, 4 bytes per pixel: 254 MB for CamVid's 367 at
            360x480, about 8 GB for the 10582 of PASCAL VOC. All pipelines of a `Dataset` object
            share the cache, until the process ends. False decodes again in every epoch.
        clips: take clips, from a `ClipDataset`.
        resize: height and width to which images are resized before the augmentation.
        steps_per_update: batches that are used together; an epoch has a multiple of it.
        part: read and return only this part of each batch.

    Returns:
        Batches of images, float32 (B, h, w, 3) RGB 0..255, or of clips, float32 (B, T, h, w, 3), in
        a dictionary with their flow if they have any; and labels, int32 (B, h, w).

    Raises:
        ValueError: on an unknown split, one smaller than the batches of an update, epochs out of
            order, or a batch that can't be divided into such parts.
    """
    if not 0 <= first_epoch <= epochs:
        raise ValueError(
            "Invalid value for argument `first_epoch`: expected 0 up to `epochs` = "
            f"{epochs}, received {first_epoch}."
        )
    used_together = batch_size * steps_per_update
    count = steps_per_epoch(dataset, split, used_together) * used_together
    size = part.of(batch_size)
    total = len(dataset.examples(split))
    reader = _Reader(dataset, split, cache, clips, resize)
    flow_channels = clips.flow_channels if clips else 0

    def epoch_examples(epoch: tf.Tensor) -> tf.data.Dataset:
        # Positions are 0 or more, so -1 is a separate random stream for the order.
        keys = tf.random.stateless_uniform(
            (total,), _seed(seed, epoch, -1), minval=None, dtype="int64", alg="philox"
        )
        order = tf.argsort(keys, stable=True)[:count]
        positions = tf.range(count, dtype="int64")
        order, positions = (
            tf.reshape(tf.reshape(x, (-1, part.count, size))[:, part.index], [-1])
            for x in (order, positions)
        )
        epochs = tf.fill(tf.shape(order), epoch)
        return tf.data.Dataset.from_tensor_slices((epochs, positions, order))

    def load(
        epoch: tf.Tensor, position: tf.Tensor, index: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        image, labels = reader(index)
        example_seed = _seed(seed, epoch, position)
        ignore = dataset.classes.ignore
        return augment(image, labels, augmentation, ignore, example_seed, flow_channels)

    examples = tf.data.Dataset.range(first_epoch, epochs).flat_map(_as_written(epoch_examples))
    examples = _mapped(examples, load)
    batches = examples.batch(size, drop_remainder=True)
    return _unstack(batches, clips).prefetch(tf.data.AUTOTUNE)


def eval_dataset(
    dataset: Dataset,
    split: str,
    *,
    batch_size: int,
    pad_to_full_batch: bool = False,
    cache: bool = False,
    clips: ClipInputs | None = None,
    resize: tuple[int, int] | None = None,
    part: Part = WHOLE,
    sizes: Sequence[tuple[int, int]] = (),
) -> tf.data.Dataset:
    """Return all examples of a split, complete and in order.

    Args:
        dataset: where the examples come from; images may differ in size.
        split: one of the dataset's.
        batch_size: images per batch.
        pad_to_full_batch: fill the last batch with images that have only the ignore label: with
            several replicas none may be empty.
        cache: keep each decoded example in memory, as in `train_dataset`, for the next pass.
        clips: take clips, as in `train_dataset`.
        resize: height and width of the images, as in `train_dataset`; they are then float32.
        part: read and return only this part of each batch; the last one is always filled.
        sizes: height and width of each of the split's images, in order, for a part of the batches:
            all parts of a batch have the size of its largest image. Not needed with `resize`.

    Returns:
        Batches of images, uint8 (B, H, W, 3) RGB, or clips, and labels, int32 (B, H, W), padded at
        the bottom and right to the batch's largest, with 0 and the ignore label.

    Raises:
        ValueError: on an unknown or empty split, a batch size below 1, or a batch that can't be
            divided into such parts.
    """
    _check_batch_size(batch_size)
    count = steps_per_epoch(dataset, split, 1)
    missing = -count % batch_size if pad_to_full_batch else 0
    reader = _Reader(dataset, split, cache, clips, resize)
    ignore = dataset.classes.ignore
    # A single ignored pixel: padded_batch makes it as large as the others.
    filler = (tf.zeros((1, 1, reader.channels), reader.dtype), tf.fill((1, 1), ignore))
    if part.count > 1:
        sizes = sizes if resize is None else [resize] * count
        batches = _part_of_eval(reader, filler, count, batch_size, part, sizes)
        return _unstack(batches, clips).prefetch(tf.data.AUTOTUNE)

    examples = tf.data.Dataset.range(count)
    examples = _mapped(examples, reader)
    if missing:
        extra = tf.data.Dataset.from_tensors(filler).repeat(missing)
        examples = examples.concatenate(extra)
    padding = (tf.zeros((), reader.dtype), tf.constant(ignore, "int32"))
    batches = examples.padded_batch(batch_size, padding_values=padding)
    return _unstack(batches, clips).prefetch(tf.data.AUTOTUNE)


def _part_of_eval(
    reader: "_Reader",
    filler: tuple[tf.Tensor, tf.Tensor],
    count: int,
    batch_size: int,
    part: Part,
    sizes: Sequence[tuple[int, int]],
) -> tf.data.Dataset:
    """Return a part of each batch of `count` examples, as `eval_dataset`."""
    size, num_batches = part.of(batch_size), -(-count // batch_size)
    own = np.arange(num_batches * batch_size).reshape(num_batches, part.count, size)[:, part.index]
    largest = [np.max(sizes[i * batch_size : (i + 1) * batch_size], 0) for i in range(num_batches)]
    ignore = filler[1][0, 0]

    def load(position: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, labels = tf.cond(position < count, lambda: reader(position), lambda: filler)
        rest = tf.stack([(0, 0), size - tf.shape(labels)], axis=1)
        image = tf.pad(image, tf.concat([rest, [(0, 0)]], 0))
        return image, tf.pad(labels, rest, constant_values=ignore)

    rows = (own.ravel(), np.repeat(np.asarray(largest, "int32"), size, axis=0))
    examples = tf.data.Dataset.from_tensor_slices(rows)
    return _mapped(examples, load).batch(size, drop_remainder=True)


def _unstack(batches: tf.data.Dataset, clips: ClipInputs | None) -> tf.data.Dataset:
    """Return the batches as the network's inputs."""
    if clips is None:
        return batches
    return batches.map(_as_written(lambda stacked, labels: (clips.unstack(stacked), labels)))


def _mapped(examples: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    """Return a function's values in the order of the examples, computed on all cores."""
    parallel = tf.data.AUTOTUNE
    return examples.map(_as_written(function), num_parallel_calls=parallel, deterministic=True)


class _Reader:
    """Reads an example by its index, inside tf.data."""

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        cache: bool,
        clips: ClipInputs | None,
        size: tuple[int, int] | None,
    ) -> None:
        self._examples = dataset.examples(split)
        self._stack = (clips or ClipInputs(1, flow=False)).stack
        self._read_example = (cached_read_function if cache else read_function)(dataset, clips)
        self.channels, self._stored = (clips.channels, "float32") if clips else (3, "uint8")
        self._flow_channels = clips.flow_channels if clips else 0
        self._size, self.dtype = size, "float32" if size else self._stored

    def __call__(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, labels = tf.numpy_function(self._read, [index], [self._stored, "uint8"])
        image = tf.ensure_shape(image, (None, None, self.channels))
        labels = tf.cast(tf.ensure_shape(labels, (None, None)), "int32")
        if self._size is not None:
            return transforms.resize(image, labels, self._size, self._flow_channels)
        return image, labels

    def _read(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        example = self._read_example(self._examples[int(index)])
        if not isinstance(example, Clip):
            return example
        return self._stack(example), example.labels


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(
            f"Invalid value for argument `batch_size`: expected 1 or more, received {batch_size}."
        )


def _seed(seed: int, epoch: tf.Tensor, position: tf.Tensor | int) -> tf.Tensor:
    """Return a seed of two integers for (seed, epoch, position); positions below 2**31."""
    epoch, position = tf.cast(epoch, "int64"), tf.cast(position, "int64")
    return tf.stack([tf.constant(seed, "int64"), epoch * 2**32 + position])
