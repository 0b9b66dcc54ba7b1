"""Export of a trained network to the formats of production, and their verification."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dpn.export import export_litert, export_onnx
from keras_dpn.io import IMAGE_SUFFIXES
from keras_dpn.io.images import read_image
from keras_dpn.models import traits
from keras_dpn.presets.files import METADATA, read_metadata
from keras_dpn.probabilities import softmax
from keras_dpn.viz import image_png

from ..evaluation.results import SCORES
from ..rundir.paths import load_config, read_json
from . import Format

# The least share of labels that agree with the model's. The graph runs the same operations, but
# they may be fused otherwise; half precision and 8 bits round.
AGREEMENT = {"saved_model": 0.999, "litert": 0.999, "litert_float16": 0.999, "onnx": 0.999}
ROUNDED_AGREEMENT = 0.9
# Pixels that a picture moves from frame to frame of the clip that checks a network for clips.
MOTION = 2
REPRESENTATIVE = 100

Inputs = Mapping[str, np.ndarray]
# Inputs and the labels to expect.
Question = tuple[Inputs, np.ndarray]


def write_file(
    model: keras.Model,
    out: Path,
    name: Format,
    image_size: tuple[int, int] | None,
    pictures: Sequence[np.ndarray] | None,
) -> Path:
    """Writes one of the formats that are a single file, and returns its path.

    Args:
        model: a run's.
        out: as in `main`.
        name: one of `Format` but saved_model.
        image_size: as in `main`.
        pictures: for litert_int8.
    """
    if name == "onnx":
        return export_onnx(model, out / "model.onnx", image_size=image_size)
    quantization = name.removeprefix("litert").removeprefix("_") or None
    if pictures is not None and image_size is not None:
        pictures = [_resized(picture, image_size) for picture in pictures]
    if pictures is not None:
        inputs = (file_inputs(model, picture) for picture in pictures)
        pictures = [{name: x[0] for name, x in each.items()} for each in inputs]
    return export_litert(
        model,
        out / f"{name.replace('litert', 'model')}.tflite",
        quantization=quantization,
        representative=pictures if quantization == "int8" else None,
        image_size=image_size,
    )


def representative_pictures(folder: Path) -> list[np.ndarray]:
    """The first pictures of a folder.

    Raises:
        ValueError: where there is none.
    """
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ValueError(f"{folder}: expected a folder of pictures, found none in it.")
    return [read_image(file) for file in files[:REPRESENTATIVE]]


def describe(directory: Path) -> dict[str, Any]:
    """What model.json says of a network beside itself: scores and configuration, if it is a run."""
    if (directory / METADATA).is_file():
        return {"preset": read_metadata(directory)}
    return {"scores": scores(directory), "config": load_config(directory)}


def scores(work_dir: Path) -> dict[str, Any]:
    """The scores of a run's evaluations: stages by the split's name, scores by the stage's."""
    found = {}
    for file in sorted(work_dir.glob("evaluation_*.json")):
        stages = read_json(file)["stages"]
        found[file.stem.removeprefix("evaluation_")] = {
            stage["name"]: {key: stage[key] for key in SCORES if key in stage} for stage in stages
        }
    return found


def questions(model: keras.Model, image: np.ndarray) -> dict[str, Question]:
    """For each signature of a model's SavedModel its inputs and the labels to expect.

    Args:
        model: as `keras_dpn.export.export` takes it.
        image: uint8 (H, W, 3).
    """
    pictures = {"image_bytes": np.array([image_png(image)], object)}, {"image": image[None]}
    clip_frames, needs_flow = traits(model).clip_frames, traits(model).needs_flow
    if clip_frames is None:
        labels = _labels(model, image[None])
        return dict(zip(("serving_default", "image"), ((p, labels) for p in pictures), strict=True))
    alone = _labels(model, _clip(model, image[None], 0))
    asked = dict(zip(("serving_default", "image"), ((p, alone) for p in pictures), strict=True))
    still, moved = (_clip(model, moving(image, clip_frames), speed) for speed in (0, MOTION))
    if not needs_flow:
        return asked | {"clip": ({"frames": still}, _labels(model, still))}
    asked["clip"] = ({"frames": still["frames"]}, _labels(model, still))
    return asked | {"clip_with_flow": (moved, _labels(model, moved))}


def file_question(model: keras.Model, image: np.ndarray) -> dict[str, Question]:
    """Inputs and labels to expect of a file that holds a model, under its one name."""
    given = file_inputs(model, image)
    return {"model": (given, _labels(model, given if len(given) > 1 else [*given.values()][0]))}


def file_inputs(model: keras.Model, image: np.ndarray) -> Inputs:
    """What a file that holds a model takes for a picture: a network for clips sees it move."""
    clip_frames, needs_flow = traits(model).clip_frames, traits(model).needs_flow
    if clip_frames is None:
        return {"image": image[None]}
    clip = _clip(model, moving(image, clip_frames), MOTION)
    return clip if needs_flow else {"frames": clip}


def moving(image: np.ndarray, frames: int) -> np.ndarray:
    """A picture that moves to the right, and comes back on the left: uint8 (frames, H, W, 3)."""
    steps = range(-(frames // 2), frames // 2 + 1)
    return np.stack([np.roll(image, MOTION * step, axis=1) for step in steps])


def saved_model_answers(path: Path) -> Callable[[str, Inputs], np.ndarray]:
    """Function from a signature's name and inputs to labels, without Keras."""
    loaded = tf.saved_model.load(path)

    def answer(signature: str, inputs: Inputs) -> np.ndarray:
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        return loaded.signatures[signature](**tensors)["labels"].numpy()

    return answer


def litert_answers(path: Path) -> Callable[[str, Inputs], np.ndarray]:
    """As `saved_model_answers`, for a LiteRT file."""
    runner = tf.lite.Interpreter(str(path)).get_signature_runner()
    return lambda _, inputs: runner(**inputs)["labels"]


def onnx_answers(path: Path) -> Callable[[str, Inputs], np.ndarray]:
    """As `saved_model_answers`, for an ONNX file. Needs onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda _, inputs: session.run(["labels"], dict(inputs))[0]


def compare(
    answer: Callable[[str, Inputs], np.ndarray],
    asked: Mapping[str, Question],
    path: Path,
    least: float,
) -> Iterator[str]:
    """Asks an export, and says how far each of its answers is as expected.

    Args:
        answer: from `saved_model_answers` and its like.
        asked: by the signature's name.
        path: of the export, for messages.
        least: share of the labels, 0 to 1, that must agree.

    Raises:
        ValueError: if fewer of one's labels agree.
    """
    for name, (inputs, expected) in asked.items():
        same = float((answer(name, inputs) == expected).mean())
        text = f"{same:.2%} of the labels agree"
        if same < least:
            raise ValueError(
                f"{path}, {name}: the export doesn't compute what the model computes: {text}."
            )
        yield f"{path}, {name}: {text}"


def _labels(model: keras.Model, inputs: np.ndarray | Inputs) -> np.ndarray:
    labels = softmax(np.asarray(model.predict_on_batch(inputs), "float32")).argmax(-1)
    # A picture is a clip of one frame.
    frames = inputs["frames"] if isinstance(inputs, Mapping) else inputs
    return labels[:, 0] if labels.ndim == 4 and frames.shape[1] == 1 else labels


def _clip(model: keras.Model, frames: np.ndarray, speed: int) -> np.ndarray | Inputs:
    """What a network for clips takes, for frames that move to the right by so many pixels."""
    if not traits(model).needs_flow:
        return frames[None]
    flow = np.zeros((1, len(frames) - 1, *frames.shape[1:3], 2), "float32")
    flow[..., 0] = speed
    return {"frames": frames[None], "forward_flow": flow, "backward_flow": -flow}


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
