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

from keras_dpn.export.arguments import (
    check_backend,
    check_model,
    frame_shape,
    in_half_precision,
    standardize_classes,
    standardize_image_size,
    standardize_outputs,
)
from keras_dpn.export.signatures import signatures
from keras_dpn.export.warmup import warmup_requests, write_warmup
from keras_dpn.files import atomic_directory
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
    classes: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("labels",),
    image_size: int | tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    precision: Literal["float16", "bfloat16"] | None = None,
    jit_compile: bool = False,
    warmup: tuple[int, int] | None = (256, 256),
) -> Path:
    """Write `<directory>/<version>/` as TensorFlow Serving reads it.

    The version appears under its number only when it is complete, so that a server that watches
    `directory` never loads half of one; a failure leaves nothing. Neither Keras nor this library
    is needed to serve it. The signatures:

    * `serving_default` takes `image_bytes`, strings (B,): JPEG, PNG, GIF (its first frame) or BMP
      files. Grey, palette and CMYK become RGB, 16 bits a channel 8; PNGs with an alpha channel lie
      on black; a rotation in EXIF is not applied.
    * `image` takes `image`, uint8 RGB (B, H, W, 3).
    * of a `models.SpatialTemporalDPN` these two take each image for a clip of one frame, and
      `clip` takes `frames`, uint8 RGB (B, T, H, W, 3) for any T, odd if the model labels the middle
      one; a network that links its frames by optical flow takes pixels at the same place for
      neighbours there, as if nothing moved. `clip_with_flow` takes the flow too: `forward_flow` and
      `backward_flow`, float32 (B, T-1, H, W, 2), as the model does.

    They give `labels`, uint8 (B, H, W), or (B, T, H, W) for a model that labels all frames; and
    for images `sizes`, int32 (B, 2), height and width of each. Images of several sizes may come
    in one batch: each gets the answer that it gets alone, `labels` has the size of the tallest and
    the widest, and lies at 255 below and to the right of smaller images. What can't be answered,
    bytes that are no image, too many pixels, an even number of frames, is INVALID_ARGUMENT, in
    memory that `max_pixels` bounds.

    Args:
        model: takes RGB images 0-255 and gives logits `(B, H, W, L)`, or a
            `models.SpatialTemporalDPN`.
        directory: the model's directory; made if it doesn't exist.
        version: the number; one more than the highest there if not given.
        keep: how many older versions stay, the newest of them; all if not given. The others are
            removed when the new version is there.
        description: what `model.json` in the version's directory shall hold next to the name, the
            signatures and the other arguments here: scores, the recipe. Values as JSON has them.
        classes: "names", L strings; "colors", L times (red, green, blue), 0-255; and "ignore", the
            ignore label, 255 if not given. For `model.json` and some of the outputs.
        outputs: what images' answers hold, next to `sizes`: "labels", always; "probabilities",
            float32 (B, H, W, L); "overlay", `overlay_bytes`, PNGs (B,) of the image under its
            labels' colours; "label_png", `label_png_bytes`, PNGs (B,) whose values are the labels,
            with the classes' colours as palette if these are given; "classes", `class_names`,
            strings (B, L), and `class_colors`, uint8 (B, L, 3); "stages", of a network of
            `keras_dpn.models`: `stage_labels`, uint8 (B, S, H, W), labels at each of its S
            `head_names`, and `stage_confidences`, uint8 (B, S, H, W), their probabilities in
            percent. Answers to clips hold the first two and the last.
        image_size: what the model sees of an image. None: the image as it is. n: one whose
            longer side is above n pixels is downsampled to that. `(height, width)`: each is resized
            to this, and the graph has this fixed size. Probabilities are resized back. A model that
            was built for one size has that.
        max_pixels: the most that an image may have. The answer to a batch may have 16 times as
            many.
        precision: "float16" or "bfloat16": the model's weights and features are of this type, as
            far as its layers allow. A network of `keras_dpn.models`, not of another library.
        jit_compile: whether XLA compiles the model, again for each new size.
        warmup: height and width of the images in the requests that TensorFlow Serving runs before
            it calls the version ready, less where `max_pixels` asks for it; None for no such
            requests.

    Returns:
        The path of the new version.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow; the model is not one from
            images to logits of 1 to 256 classes; the version exists; the description is not
            JSON; an argument is out of its range.
        OSError: The directory cannot be written.

    Example:
        >>> path = export(models.DPN(num_classes=21), "saved_models/street")  # doctest: +SKIP
        >>> served = tf.saved_model.load(path).signatures["serving_default"]  # doctest: +SKIP
        >>> served(image_bytes=[open("street.jpg", "rb").read()])["labels"]  # doctest: +SKIP
    """
    check_backend("export")
    check_model(model)
    check_positive_int("max_pixels", max_pixels)
    if keep is not None:
        check_positive_int("keep", keep, minimum=0)
    if version is not None:
        check_positive_int("version", version, minimum=0)
    classes = standardize_classes(classes, model.output_shape[-1])
    outputs = standardize_outputs(outputs, classes, model)
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
        "max_pixels": max_pixels,
        "precision": precision or "float32",
        "jit_compile": jit_compile,
        "versions": _versions(),
        **(description or {}),
    }
    _to_json(facts)  # before anything is written
    if precision is not None:
        model = in_half_precision(model, precision)
    served = signatures(
        model,
        outputs=outputs,
        classes=classes,
        image_size=image_size,
        max_pixels=max_pixels,
        jit_compile=jit_compile,
    )
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / str(_next_version(directory) if version is None else version)
    # TensorFlow Serving ignores names that aren't numbers, such as that of a temporary directory.
    with atomic_directory(target) as written:
        facts["signatures"] = _write_saved_model(served, written)
        (written / "model.json").write_text(_to_json(facts))
        if warmup is not None:
            specs = {name: inputs for name, (_, inputs) in served.items()}
            # A request that fails would keep the server from loading the version.
            size = [min(side, math.isqrt(max_pixels)) for side in warmup]
            requests = warmup_requests(specs, size, frames)
            write_warmup(written, directory.name, requests)
    if keep is not None:
        _remove_old_versions(target, keep)
    return target


def _versions() -> dict[str, str]:
    names = ("keras-dpn", "keras", "tensorflow", "tensorflow-cpu", "numpy")
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


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
    """Write the signatures and return what each takes and gives, for `model.json`."""
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    for name, (function, specs) in served.items():
        # Keras and TensorFlow would each trace it again.
        traced = tf.function(function, specs, autograph=False).get_concrete_function()
        archive.add_endpoint(name, _calling(traced), specs)
    archive.write_out(str(path), verbose=False)
    return {
        name: {spec.name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for spec in x}
        for name, (_, x) in served.items()
    }


def _calling(function: Callable[..., Any]) -> Callable[..., Any]:
    """A Python function: a concrete one can't be an endpoint."""
    return lambda *inputs: function(*inputs)


def _next_version(directory: Path) -> int:
    return 1 + max(_version_numbers(directory), default=0)


def _version_numbers(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def _remove_old_versions(newest: Path, keep: int) -> None:
    """Under another name first: a server never sees half a version go either.

    Versions that `export` didn't write stay.
    """
    directory = newest.parent
    older = [
        number
        for number in _version_numbers(directory)
        if number < int(newest.name) and (directory / str(number) / "model.json").is_file()
    ]
    for number in older[: len(older) - keep]:
        with tempfile.TemporaryDirectory(prefix=".removing-", dir=directory) as temporary:
            shutil.move(directory / str(number), temporary)
