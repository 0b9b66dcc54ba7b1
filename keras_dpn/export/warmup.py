"""Warmup requests that TensorFlow Serving runs before a model is ready."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(
    path: str | Path, name: str, requests: Iterable[tuple[str, Mapping[str, np.ndarray]]]
) -> None:
    """Write `assets.extra/tf_serving_warmup_requests` into a SavedModel.

    The package with TensorFlow Serving's messages requires TensorFlow in addition to
    `tensorflow-cpu`, so the few fields of a PredictionLog are encoded here.

    Args:
        path: directory of the SavedModel.
        name: the model's name.
        requests: pairs of a signature's name and its input arrays or tensors by name.
    """
    file = Path(path) / FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in requests:
            writer.write(_prediction_log(name, signature, inputs))


def warmup_requests(
    specs: Mapping[str, Sequence[Any]], size: Sequence[int], frames: int
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield a request of grey images for each signature.

    Args:
        specs: `tf.TensorSpec`s of each signature by its name.
        size: height and width of the images.
        frames: number of frames of a clip.

    Yields:
        Pairs of a signature's name and its inputs by name.
    """
    image = np.full((*size, 3), 128, "uint8")
    for signature, inputs in specs.items():
        if [spec.name for spec in inputs] == ["image_bytes"]:
            yield signature, {"image_bytes": np.array([tf.io.encode_jpeg(image).numpy()])}
            continue
        yield signature, {spec.name: _example(spec, size, frames) for spec in inputs}


def _example(spec: Any, size: Sequence[int], frames: int) -> np.ndarray:
    """Return an array for an input, with values for its unknown sizes."""
    *time, height, width, _ = spec.shape[1:]
    count = frames - 1 if spec.name.endswith("flow") else frames
    known = [count for _ in time] + [height or size[0], width or size[1]]
    shape = (1, *known, spec.shape[-1])
    return np.full(shape, 0 if spec.name.endswith("flow") else 128, spec.dtype.as_numpy_dtype)


def _prediction_log(name: str, signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    """Encode PredictionLog.predict_log.request: a model spec, a map from names to TensorProtos."""
    spec = _field(1, name.encode()) + _field(3, signature.encode())
    request = _field(1, spec)
    for key, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(2, _field(1, key.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))


def _field(number: int, content: bytes) -> bytes:
    """Encode a length-delimited field of protocol buffers: number with type 2, length, content."""
    length, digits = len(content), []
    while length > 127:
        digits.append(length % 128 + 128)
        length //= 128
    return struct.pack(f"{len(digits) + 2}B", number << 3 | 2, *digits, length) + content
