"""Single files for devices and other runtimes: LiteRT (.tflite) and ONNX (.onnx)."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_dpn.export.arguments import check_backend, check_model, standardize_image_size
from keras_dpn.files import atomic_file
from keras_dpn.models import traits
from keras_dpn.ops import two_labels
from keras_dpn.ops.checks import check_one_of
from keras_dpn.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

QUANTIZATIONS = ("float16", "dynamic", "int8")
OPSET = 18
# These stay in float32 next to 8-bit convolutions and pools: 8-bit colour distances and
# log-probabilities would cost a third of the mean IoU.
_FLOAT_OPERATIONS = [
    *(
        "ADD",
        "ARG_MAX",
        "BATCH_MATMUL",
        "CAST",
        "CUMSUM",
        "DIV",
        "EXP",
        "GATHER",
        "GATHER_ND",
        "LOG",
    ),
    *("LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MEAN", "MINIMUM", "MUL", "NEG", "REDUCE_MAX"),
    *("REDUCE_MIN", "RESIZE_BILINEAR", "REVERSE_V2", "RSQRT", "SOFTMAX", "SPLIT", "SQRT", "SQUARE"),
    *("SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "SUM", "TILE"),
]


def export_litert(
    model: keras.Model,
    path: str | Path,
    *,
    quantization: Literal["float16", "dynamic", "int8"] | None = None,
    representative: Iterable[np.ndarray | Mapping[str, np.ndarray]] | None = None,
    image_size: tuple[int, int] | None = None,
) -> Path:
    """Write a model as a LiteRT file for phones and small computers.

    It takes `image`, uint8 RGB (1, H, W, 3), and returns `labels`, uint8 (1, H, W), and
    `probabilities`, float32 (1, H, W, L). Only LiteRT's built-in operations are used; the device
    doesn't need TensorFlow.

    The file of a `models.SpatialTemporalDPN` takes `frames`, (1, T, H, W, 3), and `forward_flow`
    and `backward_flow`, float32 (1, T-1, H, W, 2), if it links frames by
    flow. T is the network's number of frames; without linking by flow and without `image_size` it
    is any number, such as 1 for a single image. `labels` and `probabilities` are (1, H, W, ...), or
    (1, T, H, W, ...) if the network predicts all frames.

    Args:
        model: as in `keras_dpn.export.export`. LiteRT lacks the hashing of the permutohedral
            lattice; use a fully connected CRF with `filter="window"` instead.
        path: the file, ending in ".tflite".
        quantization: None, float32; "float16", weights of half the size; "dynamic", 8-bit
            weights and float features; "int8", 8-bit features too, whose ranges are calibrated on
            `representative`. Operations without an 8-bit form stay in float32.
        representative: images like those on the device, uint8 (H, W, 3), about a hundred, of
            `image_size` if that is given. For clips the frames (T, H, W, 3), or a dictionary of
            these and the flows, float32.
        image_size: height and width of the images; any if not given.

    Returns:
        The path.

    Raises:
        ValueError: for an argument out of its range, and for a model with operations that LiteRT
            doesn't have, naming them.

    Example:
        >>> path = export_litert(model, "street.tflite", image_size=(240, 320))  # doctest: +SKIP
        >>> interpreter = ai_edge_litert.interpreter.Interpreter(str(path))  # doctest: +SKIP
    """
    path = _checked_path(model, path, ".tflite", "export_litert")
    if quantization is not None:
        check_one_of("quantization", quantization, QUANTIZATIONS)
    if (quantization == "int8") != (representative is not None):
        raise ValueError(
            "Invalid value for argument `representative`: expected images with "
            f"quantization='int8', and None without, received {type(representative).__name__} with "
            f"quantization={quantization!r}."
        )
    function = _function(model, _standardize_size(model, image_size), batch=1)
    examples = None
    if representative is not None:
        examples = _batches_of_one(representative, function.input_signature)
    # Via a SavedModel, whose signature names the inputs and outputs in the file.
    with tempfile.TemporaryDirectory() as temporary:
        archive = keras.export.ExportArchive()
        archive.add_endpoint("serve", function.python_function, function.input_signature)
        archive.write_out(temporary, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(temporary)
        converter.optimizations = [] if quantization is None else [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if examples is not None:  # of int8
            converter.representative_dataset = lambda: iter(examples)
        try:
            content = _convert(converter)
            tf.lite.Interpreter(model_content=content).allocate_tensors()
        except Exception as error:  # the converter's errors are of several private classes
            raise ValueError(
                f"{path}: LiteRT doesn't support this model: {_reason(error)}"
            ) from error
    return _write(path, content)


def _batches_of_one(
    examples: Iterable[np.ndarray | Mapping[str, np.ndarray]], specs: Sequence[Any]
) -> list[dict[str, np.ndarray]]:
    """Return each example as inputs by name; raise ValueError unless the model takes them."""
    expected = ", ".join(f"`{x.name}` of {x.dtype.name} {(*x.shape[1:],)}" for x in specs)
    batches = []
    for example in examples:
        arrays = example if isinstance(example, Mapping) else {specs[0].name: example}
        batch = {name: np.asarray(x)[None] for name, x in arrays.items()}
        fits = batch.keys() == {spec.name for spec in specs} and all(
            batch[spec.name].dtype == spec.dtype.name
            and spec.shape.is_compatible_with(batch[spec.name].shape)
            for spec in specs
        )
        if not fits:
            received = ", ".join(f"`{n}` of {x.dtype} {x.shape[1:]}" for n, x in batch.items())
            raise ValueError(
                "Invalid value for argument `representative`: expected examples with "
                f"{expected}, received {received}."
            )
        batches.append(batch)
    if not batches:
        raise ValueError(
            f"Invalid value for argument `representative`: expected examples with {expected}, "
            "about a hundred, received none."
        )
    return batches


def _convert(converter: Any) -> bytes:
    if converter.representative_dataset is None:
        return converter.convert()
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_FLOAT_OPERATIONS)
    quantizer = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=options,
    )
    return quantizer.get_nondebug_quantized_model()


def export_onnx(
    model: keras.Model, path: str | Path, *, image_size: tuple[int, int] | None = None
) -> Path:
    """Write a model as an ONNX file, for ONNX Runtime and other readers. Needs tf2onnx.

    Inputs and outputs as in `export_litert`, for batches of any size.

    Args:
        model: as in `export_litert`.
        path: the file, ending in ".onnx".
        image_size: as in `export_litert`.

    Returns:
        The path.

    Raises:
        ValueError: for an argument out of its range, and for a model with operations that ONNX
            doesn't have, naming them.

    Example:
        >>> path = export_onnx(model, "street.onnx")  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession(path)  # doctest: +SKIP
        >>> labels, probabilities = session.run(None, {"image": image[None]})  # doctest: +SKIP
    """
    import onnx
    import tf2onnx

    path = _checked_path(model, path, ".onnx", "export_onnx")
    # tf2onnx (1.17) turns known sizes into factors, whose rounding may lose a row or column.
    function = _function(model, None, batch=None)
    known = _function(model, _standardize_size(model, image_size), batch=None)
    try:
        onnx_model, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=OPSET
        )
        specs = {x.name: x.shape for x in known.input_signature}
        for tensor in onnx_model.graph.input:
            for dim, size in zip(
                tensor.type.tensor_type.shape.dim, specs[tensor.name], strict=True
            ):
                if size is not None:
                    dim.dim_value = size
        onnx.checker.check_model(onnx_model)  # tf2onnx passes on unknown operations
    except Exception as error:  # tf2onnx raises many types
        raise ValueError(f"{path}: ONNX doesn't support this model: {_reason(error)}") from error
    return _write(path, onnx_model.SerializeToString())


def _checked_path(model: keras.Model, path: str | Path, suffix: str, name: str) -> Path:
    check_backend(name)
    check_model(model)
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(
            f"Invalid value for argument `path`: expected one that ends in {suffix!r}, received "
            f"'{path}'."
        )
    return path


def _standardize_size(
    model: keras.Model, image_size: tuple[int, int] | None
) -> tuple[int, int] | None:
    if image_size is not None and not isinstance(image_size, (tuple, list)):
        raise ValueError(
            "Invalid value for argument `image_size`: expected None or (height, width), received "
            f"{image_size!r}."
        )
    return standardize_image_size(model, image_size)


def _function(model: keras.Model, image_size: tuple[int, int] | None, batch: int | None) -> Any:
    """Return the model as a function from named uint8 tensors to labels and probabilities.

    Without `image_size` it takes images of any size, whatever the model was built for.
    """
    size = image_size or (None, None)
    clip_frames, needs_flow = traits(model).clip_frames, traits(model).needs_flow
    name: str = "image"
    time: tuple[int | None, ...] = ()
    if clip_frames is not None:
        # LiteRT fails on the empty flow of a single frame.
        is_any = not needs_flow and size == (None, None)
        name, time = "frames", (None if is_any else clip_frames,)
    specs = [tf.TensorSpec((batch, *time, *size, 3), "uint8", name)]
    if needs_flow and clip_frames is not None:
        shape = (batch, clip_frames - 1, *size, 2)
        specs += [tf.TensorSpec(shape, name=name) for name in ("forward_flow", "backward_flow")]

    def call(*inputs: Tensor) -> dict[str, Tensor]:
        names = [spec.name for spec in specs]
        given = inputs[0] if len(inputs) == 1 else dict(zip(names, inputs, strict=True))
        logits = two_labels(tf.cast(model(given, training=False), "float32"))
        labels = tf.cast(tf.argmax(logits, axis=-1, output_type="int32"), "uint8")
        return {"labels": labels, "probabilities": tf.nn.softmax(logits)}

    return tf.function(call, input_signature=specs, autograph=False)


def _reason(error: Exception) -> str:
    """Return the lines of a converter's message that name operations, or its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "ops:" in line.lower() or "not supported" in line.lower()]
    return "; ".join(named or lines[-1:])


def _write(path: Path, content: bytes) -> Path:
    with atomic_file(path, len(content)) as temporary:
        temporary.write_bytes(content)
    return path
