"""Writes a model as a SavedModel that takes pictures and gives labels and probabilities."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras


def export(
    model: keras.Model,
    directory: str | Path,
    *,
    description: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> Path:
    """Writes `<directory>/<version>/` as TensorFlow Serving reads it.

    The version appears under its number only when it is complete, so that a server that watches
    `directory` never loads half of one; a failure leaves nothing. The signature `serving_default`
    takes `images`, uint8 RGB `(B, H, W, 3)` of the sizes that the model takes, and gives `labels`,
    uint8 `(B, H, W)`, and `probabilities`, float32 `(B, H, W, L)`.

    Args:
        model: takes RGB images 0-255 and gives logits `(B, H, W, L)`, as all models here do.
        directory: the model's directory; made if it doesn't exist.
        description: what `model.json` in the version's directory shall hold beside the name and
            the input and output shapes: class names, colours, the recipe. Values as JSON has them.
        version: the number; one more than the highest there if not given.

    Returns:
        The path of the new version.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow; or the model is not one from
            images to logits of 1 to 256 classes; or the version exists; or the description is
            not JSON.
        OSError: The directory cannot be written.

    Example:
        >>> path = export(models.DPN(num_classes=21), "saved_models/street")  # doctest: +SKIP
        >>> served = tf.saved_model.load(path).signatures["serving_default"]  # doctest: +SKIP
        >>> served(images=image[None])["labels"]  # doctest: +SKIP
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`export` expected Keras's TensorFlow backend, received "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow and load the model there: "
            "its .keras file is the same on every backend."
        )
    _check_model(model)
    directory = Path(directory)
    if version is not None and (directory / str(version)).exists():
        raise ValueError(f"{directory / str(version)} exists. Choose another `version`.")
    text = _model_json(model, description or {})

    directory.mkdir(parents=True, exist_ok=True)
    # TensorFlow Serving passes over names that aren't numbers. A directory made by mkdtemp can be
    # read by its owner alone, hence one more inside it.
    with tempfile.TemporaryDirectory(prefix=".exporting-", dir=directory) as temporary:
        written = Path(temporary) / "model"
        _write_saved_model(model, written)
        (written / "model.json").write_text(text)
        target = directory / str(_next_version(directory) if version is None else version)
        written.rename(target)
    return target


def _check_model(model):
    inputs, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    shapes = f"received {inputs} to {outputs}."
    if not (_has_rank_4(inputs) and inputs[-1] == 3 and _has_rank_4(outputs)):
        raise ValueError(
            "Invalid value for argument `model`: expected one from images (B, H, W, 3) to logits "
            f"(B, H, W, L), {shapes}"
        )
    if not 1 <= outputs[-1] <= 256:
        raise ValueError(
            "Invalid value for argument `model`: expected 1 to 256 classes, as labels are uint8, "
            f"{shapes}"
        )


def _has_rank_4(shape):
    return isinstance(shape, tuple) and len(shape) == 4


def _model_json(model, description) -> str:
    shapes = {"input_shape": model.input_shape[1:], "output_shape": model.output_shape[1:]}
    try:
        return json.dumps({"name": model.name, **shapes, **description}, indent=2) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Invalid value for argument `description`: expected JSON values: {error}."
        ) from error


def _write_saved_model(model, path: Path):
    import tensorflow as tf

    def serve(images):
        probabilities = tf.nn.softmax(tf.cast(model(images, training=False), "float32"))
        labels = tf.cast(tf.argmax(probabilities, axis=-1), "uint8")
        return {"labels": labels, "probabilities": probabilities}

    archive = keras.export.ExportArchive()
    images = tf.TensorSpec((None, *model.input_shape[1:]), "uint8", name="images")
    archive.add_endpoint("serving_default", serve, input_signature=[images])
    archive.write_out(str(path), verbose=False)


def _next_version(directory: Path) -> int:
    return 1 + max((int(p.name) for p in directory.iterdir() if p.name.isdecimal()), default=0)
