"""Exports the model of a training run as a SavedModel for TensorFlow Serving.

python -m training.export --work-dir runs/street --out saved_models/street --check street.jpg
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_dpn.export import export
from keras_dpn.inference import predict_probabilities
from training.cli import run
from training.data.images import read_image
from training.workdir import load_classes, load_config, load_model

# The export runs the same operations, but its graph may be fused otherwise.
TOLERANCE = 0.02


def main(*, work_dir: Path, out: Path, check: Path | None = None) -> None:
    """Writes a run's model to the next version, `<out>/<number>/`.

    It takes uint8 images of any size and gives labels and probabilities; `model.json` beside it
    holds the classes and the run's configuration.

    Args:
        work_dir: directory of the training run.
        out: directory of the exported model, for example saved_models/street.
        check: a picture: loads the export without Keras and compares what it says about the
            picture with what the run's model says.
    """
    image = None if check is None else read_image(check)
    model = load_model(work_dir)
    classes, config = load_classes(work_dir), load_config(work_dir)
    description = {"classes": classes.to_json(), "config": config}
    path = export(model, out, description=description)
    print(f"{path}: exported {model.name}, {_megabytes(path):.1f} MB")
    if image is not None:
        print(f"{path}: {agreement(path, predict_probabilities(model, image), image)}")


def agreement(path: Path, expected: np.ndarray, image: np.ndarray) -> str:
    """Compares a reloaded export with expected probabilities (H, W, L) on one image.

    Raises:
        ValueError: if they differ by more than rounding.
    """
    served = tf.saved_model.load(path).signatures["serving_default"]
    answer = {key: value[0].numpy() for key, value in served(images=image[None]).items()}
    difference = float(np.abs(answer["probabilities"] - expected).max())
    same = float((answer["labels"] == expected.argmax(-1)).mean())
    text = f"{same:.2%} of the labels agree, probabilities differ by at most {difference:.1e}"
    if difference > TOLERANCE:
        raise ValueError(f"{path}: the export doesn't compute what the model computes: {text}.")
    return text


def _megabytes(path: Path) -> float:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    run(main)
