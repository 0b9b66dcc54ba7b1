"""The grouped arguments of the Deep Parsing Networks, and the flat names that they had before."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, TypedDict, TypeVar, cast

import keras

from keras_dpn.deprecation import nearest_name, warn_renamed
from keras_dpn.models.staged import StagedModel

Init = TypeVar("Init", bound=Callable[..., None])


class BackboneArguments(TypedDict, total=False):
    """The feature extractor; `width` and `dropout` are arguments of the network itself.

    b1 to b8 are VGG16's convolutions, or a Keras model. fc6 and fc7 (b9, b10) come after either.

    Keys:
        name: "vgg16", Table 1(b) as printed (fc6 7x7, 4096 channels), or "large_fov", DeepLab's
            (fc6 3x3 with dilation 12, 1024 channels), which trains on a CPU. The default is
            "vgg16", with `model` "large_fov".
        model: a functional Keras model instead of VGG16's convolutions, see `ModelBackbone`.
        preprocessing: how `model` wants its images, see `ModelBackbone`.
        fc6_kernel: kernel size of fc6 (b9); None for that of the named backbone.
        fc6_dilation: dilation of fc6; None for that of the named backbone.
        fc_width: channels of fc6 and fc7, before `width`; None for those of the named backbone.
        keep_pools: whether to keep the last two pools of VGG16 as 3x3 with stride 1 (the author's
            later code); Table 1(b) removes them.
        pool_size: window of VGG16's first three pools; 2 as printed, 3 in DeepLab's code.
        output_stride: 8, Table 1(b): the last two pools removed; or 16: the fourth pool stays, the
            convolutions after it have half the dilation and take a quarter of the time. In a Keras
            model further strides become dilations.
        skips: earlier layers whose features are added to b10's, any of "conv4" (stride 8), "conv3"
            (4) and "conv2" (2) in this order, each finer than the one before and none coarser
            than `output_stride`; the unary term is then as fine as the last. Useful for poles and
            signs, which are thinner than a cell of stride 8. In a Keras model these are the last
            features of those strides.
        skip_width: channels of the features where skips are added, before `width`.
    """

    name: Literal["vgg16", "large_fov"]
    model: keras.Model | str | None
    preprocessing: Literal["auto", "caffe", "tf", "torch", "none"]
    fc6_kernel: int | None
    fc6_dilation: int | None
    fc_width: int | None
    keep_pools: bool
    pool_size: int
    output_stride: Literal[8, 16]
    skips: tuple[Literal["conv4", "conv3", "conv2"], ...]
    skip_width: int


class LocalConvArguments(TypedDict, total=False):
    """b12, the triple penalty: arguments of `keras_dpn.layers.LocalConv2D`.

    Keys:
        window: in pixels of the grid that the pairwise part works on; an integer, or height and
            width.
        kernel: "squared_distance", "gaussian", or "learned", one untied filter per position (the
            network then needs a known `input_shape`), see `LocalConv2D`.
        gate: False for the plain pairwise term (eq. 3).
        color_weight: initial weight of the distance between colours.
        position_weight: initial weight of the distance between positions, in pixels of the grid.
        scale: initial factor of the penalty.
    """

    window: int | tuple[int, int]
    kernel: Literal["squared_distance", "gaussian", "learned"]
    gate: bool
    color_weight: float
    position_weight: float
    scale: float


class ContextsArguments(TypedDict, total=False):
    """b13, the label contexts.

    Keys:
        window: n, of the filters; an integer, or height and width.
        mixtures: K, filters per label.
        noise: standard deviation of the initial weights around the identity.
    """

    window: int | tuple[int, int]
    mixtures: int
    noise: float


DEFAULTS: dict[str, dict[str, Any]] = {
    "backbone": {
        "name": "vgg16",
        "fc6_kernel": None,
        "fc6_dilation": None,
        "fc_width": None,
        "keep_pools": False,
        "pool_size": 2,
        "output_stride": 8,
        "skips": (),
        "skip_width": 96,
        "model": None,
        "preprocessing": "auto",
    },
    "local_conv": {
        "window": 50,
        "kernel": "squared_distance",
        "gate": True,
        "color_weight": 1.0,
        "position_weight": 0.0,
        "scale": 1.0,
    },
    "contexts": {"window": 9, "mixtures": 5, "noise": 0.01},
}

FLAT_NAMES: dict[str, tuple[str, str]] = {
    "trunk": ("backbone", "name"),
    "triple_window": ("local_conv", "window"),
    "context_window": ("contexts", "window"),
    "context_noise": ("contexts", "noise"),
    "mixtures": ("contexts", "mixtures"),
    **{
        key: ("backbone", key)
        for key in DEFAULTS["backbone"]
        if key not in ("name", "model", "preprocessing")
    },
    **{key: ("local_conv", key) for key in DEFAULTS["local_conv"] if key != "window"},
}
"""Group and key of each flat argument of 0.1; models saved by that version have them."""

_OUTPUT_FRAMES = {"middle": "center"}  # the values of `labels_of` as those of `output_frames`

DEPRECATED = {name: f"{group}={{{key!r}: ...}}" for name, (group, key) in FLAT_NAMES.items()}
"""The flat arguments of 0.1, and what replaces them."""


def complete_group(network: str, group: str, given: Any, **defaults: Any) -> dict[str, Any]:
    """Return a group of arguments with the defaults of what is not given.

    Args:
        network: name of the class, for messages.
        group: one of `DEFAULTS`.
        given: some of the group's keys, or None; a backbone's name or Keras model stands for the
            group, too.
        defaults: replace those in `DEFAULTS`.

    Raises:
        TypeError: for an unknown key, with the nearest name.
        ValueError: if `given` is no mapping.
    """
    if group == "backbone":
        given = _as_group(given)
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(
            f"Invalid value for argument `{group}`: expected a dictionary with any of the keys "
            f"{', '.join(DEFAULTS[group])}, received {given!r}."
        )
    known, given = DEFAULTS[group] | defaults, dict(given or {})
    if given.get("model") is not None:
        known["name"] = "large_fov"
    for key in given:
        if key not in known:
            advice = nearest_name(key, known)
            raise TypeError(f"{network} got an unexpected key `{key}` in `{group}`; {advice}")
    return known | given


def _as_group(backbone: Any) -> Any:
    """Return a backbone's name or Keras model as a dictionary of arguments."""
    if isinstance(backbone, str):
        return {"name": backbone}
    return {"model": backbone} if isinstance(backbone, keras.Model) else backbone


def group_arguments(arguments: Mapping[str, Any], *, warn: bool = False) -> dict[str, Any]:
    """Return constructor arguments with the flat ones of 0.1 in their groups.

    Where an argument comes twice, in a group and flat, the later one counts.

    Args:
        arguments: by name.
        warn: emit a DeprecationWarning for each flat name.
    """
    grouped: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in FLAT_NAMES:
            group, key = FLAT_NAMES[name]
            new = {group: {key: value}}
        elif name == "labels_of":
            new = {"output_frames": _OUTPUT_FRAMES.get(value, value)}
        else:
            new = {name: value}
        if warn and name not in new:  # the caller's caller has written the name
            replacement = DEPRECATED.get(name) or f"{next(iter(new))}="
            warn_renamed(f"{name}=", replacement, stacklevel=3)
        grouped = merge_groups(grouped, new)
    return grouped


def merge_groups(arguments: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with some replaced by others, groups key by key."""
    merged = dict(arguments)
    for name, value in others.items():
        before = merged.get(name)
        if name in DEFAULTS and before is not None and value is not None:
            before, value = (_as_group(x) for x in (before, value))
            value = {**before, **value}
        merged[name] = value
    return merged


def accept_flat_arguments(init: Init) -> Init:
    """Let a constructor take the flat arguments of 0.1, each with a DeprecationWarning."""

    @functools.wraps(init)
    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **group_arguments(kwargs, warn=True))

    # Keras also inspects constructors without following `__wrapped__`.
    call.__signature__ = inspect.signature(init)  # type: ignore[attr-defined]
    return cast(Init, call)


class GroupedModel(StagedModel):
    """A network with grouped arguments that still accepts the flat ones of 0.1."""

    deprecated_arguments = DEPRECATED

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        return cls(**group_arguments(config))

    @classmethod
    def updated_config(
        cls, config: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[str, Any]:
        return merge_groups(group_arguments(config), group_arguments(overrides, warn=True))

    def __getattr__(self, name: str) -> Any:
        """Return the value of a flat argument of 0.1."""
        if name not in self.deprecated_arguments:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name == "labels_of":
            warn_renamed(".labels_of", ".output_frames")
            return "middle" if self.output_frames == "center" else self.output_frames
        group, key = FLAT_NAMES[name]
        warn_renamed(f".{name}", f".{group}[{key!r}]")
        return getattr(self, group)[key]
