"""Exports the model of a training run as a SavedModel for TensorFlow Serving.

python -m training.export --work-dir runs/street --out saved_models/street --check street.jpg
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_dpn import models
from keras_dpn.export import export
from keras_dpn.inference import predict_probabilities, softmax
from training.cli import run
from training.data.images import read_image
from training.workdir import load_classes, load_config, load_model

# The export runs the same operations, but its graph may be fused otherwise.
TOLERANCE = 0.02
# Pixels that a picture moves from frame to frame of the clip that checks a network for clips.
MOTION = 2

# The inputs of a signature, for a batch of one, and the probabilities (..., L) to expect.
Question = tuple[Mapping[str, np.ndarray], np.ndarray]


def main(*, work_dir: Path, out: Path, check: Path | None = None) -> None:
    """Writes a run's model to the next version, `<out>/<number>/`.

    It takes uint8 images of any size, or clips, and gives labels and probabilities; `model.json`
    beside it holds the classes and the run's configuration. See saved_models/README.md.

    Args:
        work_dir: directory of the training run.
        out: directory of the exported model, for example saved_models/street.
        check: a picture: loads the export without Keras and compares what each of its signatures
            says about the picture with what the run's model says. A network for clips sees the
            picture move to the right.
    """
    image = None if check is None else read_image(check)
    model = load_model(work_dir)
    classes, config = load_classes(work_dir), load_config(work_dir)
    description = {"classes": classes.to_json(), "config": config}
    path = export(model, out, description=description)
    print(f"{path}: exported {model.name}, {_megabytes(path):.1f} MB")
    if image is not None:
        for line in compare(path, questions(model, image)):
            print(line)


def questions(model: keras.Model, image: np.ndarray) -> dict[str, Question]:
    """For each signature of a model's export its inputs and the probabilities to expect.

    Args:
        model: as `keras_dpn.export.export` takes it.
        image: uint8 (H, W, 3).
    """
    if not isinstance(model, models.SpatialTemporalDPN):
        return {"serving_default": ({"images": image[None]}, predict_probabilities(model, image))}
    frames = {"frames": moving(image, model.frames)[None]}
    if model.linking == "static":
        logits = model.predict_on_batch(frames["frames"])
        return {"serving_default": (frames, softmax(logits[0]))}
    flow = np.zeros((1, model.frames - 1, *image.shape[:2], 2), "float32")
    still = frames | {"forward_flow": flow, "backward_flow": flow}
    flow = flow + np.array([MOTION, 0], "float32")
    moved = frames | {"forward_flow": flow, "backward_flow": -flow}
    return {
        "serving_default": (frames, softmax(model.predict_on_batch(still)[0])),
        "with_flow": (moved, softmax(model.predict_on_batch(moved)[0])),
    }


def moving(image: np.ndarray, frames: int) -> np.ndarray:
    """A picture that moves to the right, and comes back on the left: uint8 (frames, H, W, 3)."""
    steps = range(-(frames // 2), frames // 2 + 1)
    return np.stack([np.roll(image, MOTION * step, axis=1) for step in steps])


def compare(path: Path, asked: Mapping[str, Question]) -> Iterator[str]:
    """Loads an export, without Keras, and says how far each signature's answer is as expected.

    Raises:
        ValueError: if one differs by more than rounding.
    """
    signatures = tf.saved_model.load(path).signatures
    for name, (inputs, expected) in asked.items():
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        answer = {key: value[0].numpy() for key, value in signatures[name](**tensors).items()}
        difference = float(np.abs(answer["probabilities"] - expected).max())
        same = float((answer["labels"] == expected.argmax(-1)).mean())
        text = f"{same:.2%} of the labels agree, probabilities differ by at most {difference:.1e}"
        if difference > TOLERANCE:
            raise ValueError(
                f"{path}, {name}: the export doesn't compute what the model computes: {text}."
            )
        yield f"{path}, {name}: {text}"


def _megabytes(path: Path) -> float:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    run(main)
