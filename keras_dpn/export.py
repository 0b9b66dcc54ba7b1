"""Writes a model as a SavedModel: pictures or clips in, labels and probabilities out."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_dpn import models


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

    That of a `models.SpatialTemporalDPN` takes `frames`, uint8 RGB `(B, T, H, W, 3)` for any T, odd
    if the model labels the middle one; if it labels all, it gives `(B, T, H, W)` and
    `(B, T, H, W, L)`. A network that links its frames by optical flow takes pixels at the same
    place for neighbours there, as if nothing moved. Its second signature, `with_flow`, takes the
    flow too: `forward_flow` and `backward_flow`, float32 `(B, T-1, H, W, 2)`, as the model does.

    Args:
        model: takes RGB images 0-255 and gives logits `(B, H, W, L)`, or a
            `models.SpatialTemporalDPN`.
        directory: the model's directory; made if it doesn't exist.
        description: what `model.json` in the version's directory shall hold beside the name, the
            input and output shapes, and the inputs of each signature: class names, colours, the
            recipe. Values as JSON has them.
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
    takes_images = _has_rank_4(inputs) and inputs[-1] == 3 and _has_rank_4(outputs)
    if not (takes_images or isinstance(model, models.SpatialTemporalDPN)):
        raise ValueError(
            "Invalid value for argument `model`: expected one from images (B, H, W, 3) to logits "
            f"(B, H, W, L), or a SpatialTemporalDPN, {shapes}"
        )
    if not 1 <= outputs[-1] <= 256:
        raise ValueError(
            "Invalid value for argument `model`: expected 1 to 256 classes, as labels are uint8, "
            f"{shapes}"
        )


def _has_rank_4(shape):
    return isinstance(shape, tuple) and len(shape) == 4


def _signatures(model) -> dict[str, dict[str, dict[str, Any]]]:
    """The inputs of each signature by name: "dtype", and "shape" with its batch."""
    inputs = {"images": model.input}
    if isinstance(model, models.SpatialTemporalDPN):
        inputs = {"frames": model.input} if model.linking == "static" else model.input
    specs = {
        name: {"dtype": "float32" if name.endswith("flow") else "uint8", "shape": x.shape}
        for name, x in inputs.items()
    }
    if "forward_flow" not in specs:
        return {"serving_default": specs}
    return {"serving_default": {"frames": specs["frames"]}, "with_flow": specs}


def _model_json(model, description) -> str:
    signatures = _signatures(model)
    (shape,) = (spec["shape"] for spec in signatures["serving_default"].values())
    facts = {"name": model.name, "input_shape": shape[1:], "output_shape": model.output_shape[1:]}
    try:
        return json.dumps({**facts, "signatures": signatures, **description}, indent=2) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Invalid value for argument `description`: expected JSON values: {error}."
        ) from error


def _write_saved_model(model, path: Path):
    import tensorflow as tf

    specs = {
        signature: {name: tf.TensorSpec(**spec, name=name) for name, spec in inputs.items()}
        for signature, inputs in _signatures(model).items()
    }
    all_inputs = specs.get("with_flow") or next(iter(specs["serving_default"].values()))

    def call_model(inputs):
        probabilities = tf.nn.softmax(tf.cast(model(inputs, training=False), "float32"))
        labels = tf.cast(tf.argmax(probabilities, axis=-1), "uint8")
        return {"labels": labels, "probabilities": probabilities}

    # The model is traced here once, not twice for each signature.
    answer = tf.function(call_model, [all_inputs], autograph=False).get_concrete_function()

    def serve(inputs):
        return answer(inputs)

    def serve_with_flow(frames, forward_flow, backward_flow):
        flows = {"forward_flow": forward_flow, "backward_flow": backward_flow}
        return answer({"frames": frames, **flows})

    def serve_without_flow(frames):
        nothing_moves = tf.zeros_like(frames[:, 1:, ..., :2], "float32")
        return serve_with_flow(frames, nothing_moves, nothing_moves)

    default = serve_without_flow if "with_flow" in specs else serve
    functions = {"serving_default": default, "with_flow": serve_with_flow}
    archive = keras.export.ExportArchive()
    for signature, inputs in specs.items():
        archive.add_endpoint(signature, functions[signature], list(inputs.values()))
    archive.write_out(str(path), verbose=False)


def _next_version(directory: Path) -> int:
    return 1 + max((int(p.name) for p in directory.iterdir() if p.name.isdecimal()), default=0)
