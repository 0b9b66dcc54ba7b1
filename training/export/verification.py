"""Verify exports: run them without Keras and compare their labels with the network's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dpn import Segmenter
from keras_dpn.models import traits
from keras_dpn.probabilities import class_probabilities
from keras_dpn.viz import image_png

from . import Format

# The smallest fraction of labels that must agree with the network's. The graph has the same
# operations, but they may be fused differently; half precision and 8 bits round.
AGREEMENT = {"saved_model": 0.999, "litert": 0.999, "litert_float16": 0.999, "onnx": 0.999}
ROUNDED_AGREEMENT = 0.9
# Pixels that an image moves from frame to frame of the clip that verifies a network for clips.
MOTION = 2

Inputs = Mapping[str, np.ndarray]
Predict = Callable[[str, Inputs], np.ndarray]
"""Labels of the inputs of a signature."""


@dataclass(frozen=True, eq=False)
class Expectation:
    """Inputs of an export, and the labels that the network predicts for them."""

    inputs: Inputs
    labels: np.ndarray


def verify_saved_model(
    path: Path,
    model: keras.Model,
    image: np.ndarray,
    segmenter: Segmenter | None = None,
    *,
    is_exact: bool,
) -> Iterator[str]:
    """Compare a SavedModel with the network that it was exported from.

    Args:
        path: of the SavedModel.
        model: as `keras_dpn.export.export` took it.
        image: uint8 (H, W, 3).
        segmenter: labels images as the SavedModel should, which resizes them; None for the network
            at the image's size.
        is_exact: whether the SavedModel computes the same at the same size. Otherwise the agreement
            is reported, but not required.

    Yields:
        A line for each signature.

    Raises:
        ValueError: if too few of a signature's labels agree.
    """
    min_agreement = AGREEMENT["saved_model"] if is_exact else 0.0
    expected = expectations(model, image)
    if segmenter is not None:
        labels = segmenter.labels(image)[None]
        for name in ("serving_default", "image"):
            expected[name] = replace(expected[name], labels=labels)
    return compare(load_saved_model(path), expected, path, min_agreement)


def verify_file(
    path: Path,
    format: Format,
    model: keras.Model,
    image: np.ndarray,
    image_size: tuple[int, int] | None,
) -> Iterator[str]:
    """Compare a LiteRT or ONNX file with the network that it was exported from.

    Args:
        path: of the file.
        format: of the file.
        model: the network.
        image: uint8 (H, W, 3).
        image_size: height and width of the graph, to which the image is resized; None for any.

    Yields:
        A line.

    Raises:
        ValueError: if too few labels agree.
    """
    if image_size is not None:
        image = resize(image, image_size)
    predict = load_onnx(path) if format == "onnx" else load_litert(path)
    expected = {"model": file_expectation(model, image)}
    return compare(predict, expected, path, AGREEMENT.get(format, ROUNDED_AGREEMENT))


def compare(
    predict: Predict, expected: Mapping[str, Expectation], path: Path, min_agreement: float
) -> Iterator[str]:
    """Run an export, and report the fraction of its labels that are as expected.

    Args:
        predict: runs the export.
        expected: by the signature's name.
        path: of the export, for messages.
        min_agreement: fraction of the labels, 0 to 1, that must agree.

    Yields:
        A line for each signature.

    Raises:
        ValueError: if fewer of a signature's labels agree.
    """
    for name, expectation in expected.items():
        agreement = float((predict(name, expectation.inputs) == expectation.labels).mean())
        text = f"{agreement:.2%} of the labels agree"
        if agreement < min_agreement:
            raise ValueError(
                f"{path}, {name}: the export doesn't compute what the network computes: {text}."
            )
        yield f"{path}, {name}: {text}"


def expectations(model: keras.Model, image: np.ndarray) -> dict[str, Expectation]:
    """Return inputs and labels for each signature of a network's SavedModel.

    Args:
        model: as `keras_dpn.export.export` takes it.
        image: uint8 (H, W, 3).
    """
    clip_frames, needs_flow = traits(model).clip_frames, traits(model).needs_flow
    labels = _labels(model, image[None] if clip_frames is None else _clip(model, image[None], 0))
    expected = {
        "serving_default": Expectation(
            {"image_bytes": np.array([image_png(image)], object)}, labels
        ),
        "image": Expectation({"image": image[None]}, labels),
    }
    if clip_frames is None:
        return expected
    still, moved = (_clip(model, moving_clip(image, clip_frames), speed) for speed in (0, MOTION))
    expected["clip"] = Expectation({"frames": _frames(still)}, _labels(model, still))
    if needs_flow:
        assert isinstance(moved, Mapping)
        expected["clip_with_flow"] = Expectation(moved, _labels(model, moved))
    return expected


def file_expectation(model: keras.Model, image: np.ndarray) -> Expectation:
    """Return inputs and labels of an exported file."""
    inputs = file_inputs(model, image)
    return Expectation(inputs, _labels(model, inputs if len(inputs) > 1 else [*inputs.values()][0]))


def file_inputs(model: keras.Model, image: np.ndarray) -> Inputs:
    """Return the inputs of a file for an image; for a network for clips the image moves."""
    clip_frames = traits(model).clip_frames
    if clip_frames is None:
        return {"image": image[None]}
    clip = _clip(model, moving_clip(image, clip_frames), MOTION)
    return clip if isinstance(clip, Mapping) else {"frames": clip}


def moving_clip(image: np.ndarray, frames: int) -> np.ndarray:
    """Return an image that moves to the right and comes back on the left, (frames, H, W, 3)."""
    steps = range(-(frames // 2), frames // 2 + 1)
    return np.stack([np.roll(image, MOTION * step, axis=1) for step in steps])


def load_saved_model(path: Path) -> Predict:
    """Load a SavedModel without Keras."""
    loaded = tf.saved_model.load(path)

    def predict(signature: str, inputs: Inputs) -> np.ndarray:
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        return loaded.signatures[signature](**tensors)["labels"].numpy()

    return predict


def load_litert(path: Path) -> Predict:
    """Load a LiteRT file, which has one signature."""
    runner = tf.lite.Interpreter(str(path)).get_signature_runner()
    return lambda _, inputs: runner(**inputs)["labels"]


def load_onnx(path: Path) -> Predict:
    """Load an ONNX file, which has one signature. Needs onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda _, inputs: session.run(["labels"], dict(inputs))[0]


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image to a height and a width."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def _labels(model: keras.Model, inputs: np.ndarray | Inputs) -> np.ndarray:
    logits = np.asarray(model.predict_on_batch(inputs), "float32")
    labels = class_probabilities(logits).argmax(-1)
    # An image is a clip of one frame.
    return labels[:, 0] if labels.ndim == 4 and _frames(inputs).shape[1] == 1 else labels


def _clip(model: keras.Model, frames: np.ndarray, speed: int) -> np.ndarray | Inputs:
    """Return the inputs of a network for clips, of frames that move `speed` pixels to the right."""
    if not traits(model).needs_flow:
        return frames[None]
    flow = np.zeros((1, len(frames) - 1, *frames.shape[1:3], 2), "float32")
    flow[..., 0] = speed
    return {"frames": frames[None], "forward_flow": flow, "backward_flow": -flow}


def _frames(inputs: np.ndarray | Inputs) -> np.ndarray:
    return inputs["frames"] if isinstance(inputs, Mapping) else inputs
