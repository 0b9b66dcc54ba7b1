"""Write a model as a SavedModel: bytes, arrays or clips in, label maps and PNGs out."""

import importlib.metadata
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from keras_dpn.classes import Classes
from keras_dpn.export.arguments import (
    check_backend,
    check_model,
    check_shorter_side,
    frame_shape,
    in_half_precision,
    standardize_classes,
    standardize_image_size,
    standardize_outputs,
    standardize_warmup,
)
from keras_dpn.export.signatures import signatures
from keras_dpn.export.warmup import warmup_requests, write_warmup
from keras_dpn.files import atomic_directory
from keras_dpn.inference.exported import FACTS
from keras_dpn.models import traits
from keras_dpn.ops.checks import check_positive_int

MAX_PIXELS = 2048 * 2048


def export(
    model: keras.Model,
    directory: str | Path,
    *,
    version: int | None = None,
    keep: int | None = None,
    description: Mapping[str, Any] | None = None,
    classes: Classes | Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("labels",),
    image_size: int | tuple[int, int] | None = None,
    shorter_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    precision: Literal["float16", "bfloat16"] | None = None,
    jit_compile: bool = False,
    warmup: tuple[int, int] | None = (256, 256),
) -> Path:
    """Write `<directory>/<version>/` as TensorFlow Serving reads it.

    The version appears under its number only when it is complete, so that a server that watches
    `directory` never loads an incomplete one; a failure leaves no files. Serving needs neither
    Keras nor this library. The signatures:

    * `serving_default` takes `image_bytes`, strings (B,): JPEG, PNG, GIF or BMP files, which are
      decoded by the rules of `keras_dpn.io.images`: upright by their EXIF data, transparent pixels
      on black, the upper 8 bits of 16, of animations the first frame.
    * `image` takes `image`, uint8 RGB (B, H, W, 3).
    * `overlay` and `label_png`, for exports with these outputs, take `image_bytes` and return that
      output and `sizes` alone, as REST returns all outputs of a signature.
    * for a `models.SpatialTemporalDPN` these two treat each image as a clip of one frame. `clip`
      takes `frames`, uint8 RGB (B, T, H, W, 3) for any T, odd if the model predicts the center
      frame; a network that links frames by optical flow links pixels at the same position instead,
      as if nothing moved. `clip_with_flow` takes the flow too: `forward_flow` and `backward_flow`,
      float32 (B, T-1, H, W, 2), as the model does.

    They return `labels`, uint8 (B, H, W), or (B, T, H, W) for a model that predicts all frames; and
    for images `sizes`, int32 (B, 2), height and width of each. A batch may contain images of
    several sizes: each gets the same prediction as by itself; `labels` has the largest height and
    width, and is 255 below and to the right of smaller images. Invalid requests, such as bytes
    that are no image, too many pixels or an even number of frames, fail with INVALID_ARGUMENT, in
    memory bounded by `max_pixels`.

    Args:
        model: takes RGB images 0-255 and returns logits `(B, H, W, L)`, or a
            `models.SpatialTemporalDPN`.
        directory: the model's directory; created if it doesn't exist.
        version: the version number; by default one more than the highest existing one.
        keep: how many of the newest older versions to keep; all by default. The others are removed
            once the new version is complete.
        description: JSON values to add to `model.json` in the version's directory, such as scores
            or the recipe; it also contains the name, the signatures and the other arguments.
        classes: `keras_dpn.Classes`, or a dictionary of "names", L strings; "colors", L times (red,
            green, blue), 0-255; and "ignore", the ignore label, 255 if not given. For `model.json`
            and some of the outputs.
        outputs: the outputs for images, next to `sizes`: "labels", always; "probabilities",
            float32 (B, H, W, L); "overlay", `overlay_bytes`, PNGs (B,) of the image blended
            with its labels' colours; "label_png", `label_png_bytes`, PNGs (B,) whose values are the
            labels, with the classes' colours as palette if these are given; "classes",
            `class_names`, strings (B, L), and `class_colors`, uint8 (B, L, 3); "stages", for
            networks of `keras_dpn.models`: `stage_labels`, uint8 (B, S, H, W), labels at each of
            its S `head_names`, and `stage_confidences`, uint8 (B, S, H, W), their probabilities in
            percent. Clips have the first two and the last.
        image_size: input size of the model. None: the image's size. n: images with a longer side
            than n pixels are downsampled to n. `(height, width)`: images are resized to this
            size, and the graph has this fixed size. Probabilities are resized back. A model that
            was built for one size has that size.
        shorter_side: instead of `image_size`, the shorter side in pixels to which images are
            resized, up or down, as `keras_dpn.Segmenter` does with a preset's size. Clips keep
            their size.
        max_pixels: largest number of pixels of an image, also after it is resized to a
            `shorter_side`. Networks pad narrow images: with sides below 64 counted as 64, it may
            have as many, or 65,536. The response to a batch may have 16 times as many.
        precision: "float16" or "bfloat16", the dtype of weights and features in layers that allow
            it; for networks of `keras_dpn.models` only.
        jit_compile: whether XLA compiles the model, again for each new size.
        warmup: height and width of the images in the requests that TensorFlow Serving runs before
            the version is ready, smaller if `max_pixels` requires it; None for no such requests.

    Returns:
        The path of the new version.

    Raises:
        ValueError: if Keras runs on another backend than TensorFlow, the model doesn't map images
            to logits of 1 to 256 classes, the version exists, the description is not JSON, or an
            argument is out of its range.
        OSError: if the directory can't be written.

    Example:
        >>> path = export(models.DPN(num_classes=21), "saved_models/street")  # doctest: +SKIP
        >>> served = tf.saved_model.load(path).signatures["serving_default"]  # doctest: +SKIP
        >>> served(image_bytes=[open("street.jpg", "rb").read()])["labels"]  # doctest: +SKIP
    """
    check_backend("export")
    check_model(model)
    check_positive_int("max_pixels", max_pixels)
    warmup_size = standardize_warmup(warmup)
    if keep is not None:
        check_positive_int("keep", keep, minimum=0)
    if version is not None:
        check_positive_int("version", version, minimum=0)
    classes = standardize_classes(classes, max(2, model.output_shape[-1]))
    outputs = standardize_outputs(outputs, classes, model)
    if shorter_side is not None:
        check_shorter_side(model, shorter_side, image_size)
    image_size = standardize_image_size(model, image_size)
    frames = traits(model).clip_frames or 1
    directory = Path(directory)
    if version is not None and (directory / str(version)).exists():
        raise ValueError(f"{directory / str(version)} exists. Choose another `version`.")
    facts = {
        "name": model.name,
        "input_shape": frame_shape(model),
        "output_shape": model.output_shape[1:],
        "classes": classes,
        "stages": model.head_names if "stages" in outputs else None,
        "frames": frames,
        "image_size": image_size,
        "shorter_side": shorter_side,
        "max_pixels": max_pixels,
        "precision": precision or "float32",
        "jit_compile": jit_compile,
        "versions": _versions(),
    }
    if taken := {*facts, "signatures"} & (description or {}).keys():
        raise ValueError(
            "Invalid value for argument `description`: expected other names than those of what "
            f"`export` writes itself, received {', '.join(sorted(taken))}."
        )
    facts |= description or {}
    _to_json(facts)  # before any file is written
    if precision is not None:
        model = in_half_precision(model, precision)
    served = signatures(
        model,
        outputs=outputs,
        classes=classes,
        image_size=image_size,
        shorter_side=shorter_side,
        max_pixels=max_pixels,
        jit_compile=jit_compile,
    )
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / str(_next_version(directory) if version is None else version)
    # TensorFlow Serving ignores names that aren't numbers, such as that of a temporary directory.
    with atomic_directory(target) as written:
        facts["signatures"] = _write_saved_model(served, written)
        (written / FACTS).write_text(_to_json(facts))
        if warmup_size is not None:
            specs = {name: inputs for name, (_, inputs) in served.items()}
            # A request that fails would keep the server from loading the version.
            size = [min(side, math.isqrt(max_pixels)) for side in warmup_size]
            requests = warmup_requests(specs, size, frames)
            write_warmup(written, directory.name, requests)
    if keep is not None:
        _remove_old_versions(target, keep)
    return target


def _versions() -> dict[str, str]:
    names = ("keras-dpn", "keras", "tensorflow", "tensorflow-cpu", "numpy")
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _to_json(facts: Mapping[str, Any]) -> str:
    try:
        return json.dumps(facts, indent=2) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Invalid value for argument `description`: expected JSON values: {error}."
        ) from error


def _write_saved_model(
    served: Mapping[str, tuple[Callable[..., Any], list[Any]]], path: Path
) -> dict[str, Any]:
    """Write the signatures and return their inputs and outputs for `model.json`."""
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    for name, (function, specs) in served.items():
        # Without it Keras and TensorFlow would each trace it again.
        traced = tf.function(function, specs, autograph=False).get_concrete_function()
        archive.add_endpoint(name, _calling(traced), specs)
    archive.write_out(str(path), verbose=False)
    return {
        name: {spec.name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for spec in x}
        for name, (_, x) in served.items()
    }


def _calling(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a Python function, as a concrete one can't be an endpoint."""
    return lambda *inputs: function(*inputs)


def _next_version(directory: Path) -> int:
    return 1 + max(_version_numbers(directory), default=0)


def _version_numbers(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def _remove_old_versions(newest: Path, keep: int) -> None:
    """Remove a version after renaming it, so that a server never sees an incomplete one.

    Versions that `export` didn't write stay.
    """
    directory = newest.parent
    older = [
        number
        for number in _version_numbers(directory)
        if number < int(newest.name) and (directory / str(number) / FACTS).is_file()
    ]
    for number in older[: len(older) - keep]:
        with tempfile.TemporaryDirectory(prefix=".removing-", dir=directory) as temporary:
            shutil.move(directory / str(number), temporary)
