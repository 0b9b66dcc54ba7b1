"""Datasets packed into shards: a few large TFRecord files instead of many small ones.

    keras-dpn pack voc --data-dir VOC --out SHARDS
    keras-dpn train RECIPE --data.dataset shards --data-dir SHARDS --work-dir RUN

`SHARDS` may be copied wherever TensorFlow's file systems reach: gs://bucket/shards is built in,
others, such as s3://, need plug-ins. It holds

    index.json                       classes, splits, and the position of each example
    part-00000-of-00024.tfrecord     tf.train.Example with image/encoded, image/filename,
                                     image/format, image/height, image/width,
                                     image/segmentation/class/encoded and .../format

An image's file is copied unchanged if reading it gives the same pixels; others, and label maps, are
PNG. Each record is checked when it is read. Of a dataset of clips the labelled frames are packed,
as images.
"""

import hashlib
import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.io.images import ImageError, read_image
from keras_dpn.viz import image_png, label_png

from ...utils.files import NamedBytes, atomic_file, write_json
from ..dataset import Dataset, Example
from ..io.images import match_labels, read_indices

INDEX = "index.json"
VERSION = 1

# TFRecord adds to each record its length with a checksum in front, and another checksum after it.
_HEAD, _TAIL = 12, 4

_IMAGE, _LABELS = "image/encoded", "image/segmentation/class/encoded"


class Record(NamedTuple):
    """The position of an example in its shard.

    Args:
        name: the example's.
        offset: of its first byte.
        length: in bytes.
        crc32: checksum of its bytes, as `zlib.crc32`.
    """

    name: str
    offset: int
    length: int
    crc32: int


@dataclass(frozen=True)
class Shard:
    """A file of records.

    Args:
        file: its name.
        bytes: its length.
        sha256: its checksum, in hex, as `sha256sum` prints it.
        records: its examples, in order.
    """

    file: str
    bytes: int
    sha256: str
    records: tuple[Record, ...]


class ShardsDataset(Dataset):
    """A dataset read from shards: the same images and names in the same order as in its files.

    Args:
        data_dir: the shards' directory, or an address such as gs://bucket/shards.

    Raises:
        ValueError: naming the file, if the index or a shard is missing, broken or of the wrong
            length. Damage inside a shard raises when its example is read.
    """

    def __init__(self, data_dir: Path | str) -> None:
        self._root = address(data_dir)
        path = f"{self._root}/{INDEX}"
        content = _read(path)
        try:
            index = json.loads(content)
            if index["version"] != VERSION:
                raise ValueError(f"expected version {VERSION}, received {index['version']!r}")
            self.name = index["dataset"]
            self.classes = Classes.from_json(index["classes"])
            self.expected_size, self.subset_of = index["official"], index["within"]
            if not isinstance(self.expected_size, dict) or not isinstance(self.subset_of, dict):
                raise TypeError("expected dictionaries in `official` and `within`")
            shards = [_shard_from_json(values) for values in index["shards"]]
            self._positions = [(shard.file, record) for shard in shards for record in shard.records]
            self.splits = {
                _file_name(split): tuple(
                    Example(self._positions[i][1].name, index=i) for i in listed
                )
                for split, listed in index["splits"].items()
            }
        except (
            *(ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError),
        ) as error:
            raise ValueError(
                f"{path}: expected an index that `keras-dpn pack` wrote ({error})."
            ) from error
        self._check_lengths(shards)

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        features = self._features(example)
        image, labels = self._stream(features, _IMAGE, example), self._labels(features, example)
        pixels = read_image(image)
        if pixels.shape[:2] != labels.shape:
            (height, width), (label_height, label_width) = pixels.shape[:2], labels.shape
            raise ImageError(
                f"{image}: {width}x{height} pixels, its label map {label_width}x{label_height}; "
                "they must agree."
            )
        return pixels, labels

    def read_labels(self, example: Example) -> np.ndarray:
        return self._labels(self._features(example), example)

    def _labels(self, features: Any, example: Example) -> np.ndarray:
        stream = self._stream(features, _LABELS, example)
        return match_labels(read_indices(stream), self.classes, str(stream))

    def _stream(self, features: Any, key: str, example: Example) -> NamedBytes:
        name = f"{self._root}: {example.name}"
        try:
            return NamedBytes(_content(features, key), name)
        except IndexError:
            raise ImageError(f"{name}: its record has no {key!r}.") from None

    def _features(self, example: Example) -> Any:
        file, record = self._positions[example.index]
        path = f"{self._root}/{file}"
        content = _read(path, record.offset, record.length)
        if len(content) != record.length or zlib.crc32(content) != record.crc32:
            raise ValueError(
                f"{path}: the record of {record.name} is damaged; copy or pack this shard again."
            )
        try:
            return tf.train.Example.FromString(content).features.feature
        except DecodeError as error:
            raise ImageError(f"{path}: the record of {record.name}: {error}.") from error

    def _check_lengths(self, shards: Sequence[Shard]) -> None:
        wrong = []
        for shard in shards:
            path = f"{self._root}/{shard.file}"
            length = tf.io.gfile.stat(path).length if tf.io.gfile.exists(path) else 0
            if length != shard.bytes:
                wrong.append(f"{path}: {length} of {shard.bytes} bytes")
        if wrong:
            raise ValueError(
                f"Shards are missing or truncated; copy or pack them again: {'; '.join(wrong)}."
            )


def address(path: Path | str) -> str:
    """Return a path as TensorFlow's file systems take it; `Path` turns gs://bucket into gs:/bucket.

    Example:
    >>> address(Path("gs://bucket/shards"))
    'gs://bucket/shards'
    """
    return re.sub(r"^(\w{2,}):/+", r"\1://", str(path)).rstrip("/")


def absolute(path: Path | str) -> str:
    """Return an absolute path; an address is returned unchanged."""
    location = address(path)
    return location if "://" in location else str(Path(path).resolve())


def write_shard(path: Path, dataset: Dataset, examples: Sequence[Example]) -> None:
    """Write examples as one shard, atomically.

    Raises:
        ValueError: naming the file, if an example can't be read.
    """
    with atomic_file(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for example in examples:
            writer.write(_encode(dataset, example))


def scan_shard(path: Path) -> Shard:
    """Return the contents of a shard.

    Raises:
        ValueError: naming it, if it is damaged or truncated.
    """
    records, offset = [], _HEAD
    try:
        for content in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(content).features.feature
            name = _content(features, "image/filename").decode()
            records.append(Record(name, offset, len(content), zlib.crc32(content)))
            offset += len(content) + _TAIL + _HEAD
    except (tf.errors.OpError, IndexError) as error:
        raise ValueError(f"{path}: damaged ({error}); delete it, and pack again.") from error
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Shard(path.name, path.stat().st_size, digest, tuple(records))


def write_index(
    out: Path, dataset: Dataset, shards: Sequence[Shard], splits: dict[str, list[int]]
) -> None:
    """Write the index, which makes a directory of shards a dataset.

    Args:
        out: the directory.
        dataset: the packed dataset.
        shards: all of them, in order.
        splits: for each split the examples' positions among all the shards' records.
    """
    index = {
        "version": VERSION,
        "dataset": dataset.name,
        "classes": dataset.classes.to_json(),
        "counts": {split: len(positions) for split, positions in splits.items()},
        "official": dict(dataset.expected_size),
        "within": dict(dataset.subset_of),
        "shards": [asdict(shard) for shard in shards],
        "splits": splits,
    }
    write_json(out / INDEX, index)


def _encode(dataset: Dataset, example: Example) -> bytes:
    """Return an example as a record."""
    pixels, labels = dataset.read(example)
    content = _original(example, pixels) or image_png(pixels)
    classes, (height, width) = dataset.classes, labels.shape
    values = {
        _IMAGE: content,
        "image/filename": example.name.encode(),
        "image/format": (Image.open(io.BytesIO(content)).format or "").lower().encode(),
        "image/height": height,
        "image/width": width,
        _LABELS: label_png(labels, classes.colors, classes.ignore),
        "image/segmentation/class/format": b"png",
    }
    features = {key: _feature(value) for key, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _original(example: Example, pixels: np.ndarray) -> bytes | None:
    """Return the image's file, if there is one and reading it gives these pixels."""
    if example.image is None:
        return None
    content = example.image.read_bytes()
    same = np.array_equal(read_image(NamedBytes(content, str(example.image))), pixels)
    return content if same else None


def _feature(value: bytes | int) -> tf.train.Feature:
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _content(features: Any, key: str) -> bytes:
    return features[key].bytes_list.value[0]


def _read(path: str, offset: int = 0, length: int = -1) -> bytes:
    try:
        with tf.io.gfile.GFile(path, "rb") as stream:
            stream.seek(offset)
            return stream.read(length)
    except tf.errors.NotFoundError:
        raise ValueError(f"{path}: no such file.") from None
    except tf.errors.OpError as error:
        raise ValueError(f"{path}: can't be read ({error.message}).") from error


def _shard_from_json(values: dict[str, Any]) -> Shard:
    """Return a shard of the index; ValueError or TypeError for one that `pack` doesn't write."""
    records = tuple(Record(*record) for record in values["records"])
    shard = Shard(values["file"], values["bytes"], values["sha256"], records)
    _file_name(shard.file)
    for record in records:
        numbers = (shard.bytes, record.offset, record.length, record.crc32)
        is_integer = all(isinstance(number, int) for number in numbers)
        if not is_integer or not isinstance(record.name, str):
            raise TypeError(f"expected name, offset, length and checksum, received {[*record]}")
        if not 0 <= record.offset <= record.offset + record.length <= shard.bytes:
            raise ValueError(f"{record.name!r} is beyond the {shard.bytes} bytes of {shard.file}")
    return shard


def _file_name(name: str) -> str:
    """Return the name of a shard or a split, of which files have theirs, unless it leads away."""
    if Path(name).name != name or "\\" in name or name in ("", ".."):
        raise ValueError(f"expected a name without a directory, received {name!r}")
    return name
