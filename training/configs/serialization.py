"""A run's configuration as JSON, and configurations of earlier versions."""

import copy
import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from .crf import CRFConfig, read_crf
from .networks import network_config
from .schema import CONFIG_VERSION, TrainConfig

T = TypeVar("T")


def to_json(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain JSON values, with the name of the network."""
    return {"network": config.network, **dataclasses.asdict(config)}


def from_json(values: Mapping[str, Any], source: str | Path = "config.json") -> TrainConfig:
    """Return the configuration that `to_json` wrote, in this version or in one that it upgrades.

    Missing fields have their defaults: they were added to the same version, with defaults that
    change nothing.

    Raises:
        ValueError: names the file and the field if one is unknown, missing without a default or of
            a wrong type, or if the file is of another version or for an unknown network.
    """
    try:
        fields = upgrade(values, source)
        return build(network_config(fields.pop("network", None), source), fields, source)
    except RecursionError:
        raise ValueError(
            f"{source}: expected a configuration, received lists nested too deeply."
        ) from None


def upgrade(values: Mapping[str, Any], source: str | Path = "config.json") -> dict[str, Any]:
    """Return a configuration's JSON values as those of the current version.

    Args:
        values: of version 4 or 5; they stay as they are.
        source: of the values, for messages.

    Raises:
        ValueError: for another version.
    """
    version = values.get("version") if isinstance(values, Mapping) else None
    if version not in (4, CONFIG_VERSION):
        raise ValueError(
            f"{source}: expected a configuration of version {CONFIG_VERSION}, received version "
            f"{version!r}; write it again with the command that made it."
        )
    copied = copy.deepcopy(dict(values))
    return copied if version == CONFIG_VERSION else _from_version_4(copied)


_LOSS_4 = {"hard_ratio": "ohem_fraction", "coarse": "subsampled"}
_AUGMENTATION_4 = {"mirror": "horizontal_flip"}
_GROUPED_4 = ("DPN", "SpatialTemporalDPN")
"""The networks whose arguments are in groups since version 5."""
_MODEL_4 = {
    "backbone": {
        "trunk": "name",
        **{name: name for name in ("fc6_kernel", "fc6_dilation", "fc_width", "keep_pools")},
        **{name: name for name in ("pool_size", "output_stride", "skips", "skip_width")},
    },
    "local_conv": {
        "triple_window": "window",
        **{name: name for name in ("kernel", "gate", "color_weight", "position_weight", "scale")},
    },
    "contexts": {"context_window": "window", "mixtures": "mixtures", "context_noise": "noise"},
}
"""The names of version 4 for the fields of DPN's groups."""
_FCN_4 = {"taps": "skips"}


def _from_version_4(values: dict[str, Any]) -> dict[str, Any]:
    """Return values of version 4 with the names of version 5."""
    values["version"] = 5
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("augmentation"), dict):
        data["augmentation"] = _renamed(data["augmentation"], _AUGMENTATION_4)
    for section in values.values():
        if isinstance(section, dict) and isinstance(section.get("loss"), dict):
            section["loss"] = _renamed(section["loss"], _LOSS_4)
    if values.get("network") in _GROUPED_4 and isinstance(values.get("model", {}), dict):
        values["model"] = _grouped({"trunk": "large_fov", **values.get("model", {})})
    elif values.get("network") == "FCN" and isinstance(values.get("model"), dict):
        values["model"] = _renamed(values["model"], _FCN_4)
    return values


def renamed_fields(config: type[TrainConfig]) -> dict[str, str]:
    """Return the dotted names of a network's renamed fields: in version 4, and now.

    Example:
    >>> from .networks import DPNTrainConfig
    >>> renamed_fields(DPNTrainConfig)["model.triple_window"]
    'model.local_conv.window'
    """
    names = {f"data.augmentation.{a}": f"data.augmentation.{b}" for a, b in _AUGMENTATION_4.items()}
    for section in {config().section(stage.name): None for stage in config.stages}:
        names |= {f"{section}.loss.{old}": f"{section}.loss.{new}" for old, new in _LOSS_4.items()}
    if config.network in _GROUPED_4:
        for group, fields in _MODEL_4.items():
            names |= {f"model.{old}": f"model.{group}.{new}" for old, new in fields.items()}
    elif config.network == "FCN":
        names |= {f"model.{old}": f"model.{new}" for old, new in _FCN_4.items()}
    return names


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def _grouped(model: dict[str, Any]) -> dict[str, Any]:
    """Return DPN's arguments of version 4 in the groups of version 5."""
    for group, names in _MODEL_4.items():
        model[group] = {new: model.pop(old) for old, new in names.items() if old in model}
    return model


def build(cls: type[T], values: Any, source: str | Path, name: str = "") -> T:
    """Return an instance of a dataclass from JSON; defaults and ValueError as `from_json`.

    Args:
        cls: the dataclass, or the type of one of its fields.
        values: the JSON values.
        source: of the values, for messages.
        name: of the field, for messages.
    """
    return _build(cls, values, f"{name}." if name else "", source)


def _build(cls: Any, values: Any, path: str, source: str | Path, default: Any = None) -> Any:
    """Return an instance of a dataclass, a tuple, a dict or a plain value from its JSON form."""
    if dataclasses.is_dataclass(cls):
        return _build_dataclass(cls, values, path, source, default)
    origin, args = typing.get_origin(cls), typing.get_args(cls)
    fits = True
    if origin is tuple:
        if args[1:] == (...,):
            args = args[:1] * len(values) if isinstance(values, (list, tuple)) else ()
        fits = isinstance(values, (list, tuple)) and len(values) == len(args)
        if fits:
            pairs = zip(args, values, strict=True)
            return tuple(_build(arg, value, path, source) for arg, value in pairs)
    elif origin is dict:
        fits = isinstance(values, dict)
        if fits:
            key, value = args
            return {
                _build(key, k, path, source): _build(value, values[k], path, source) for k in values
            }
    elif origin is Literal:
        fits = values in args
    elif origin in (types.UnionType, typing.Union):
        if values is None and type(None) in args:
            return None
        dicts = [arg for arg in args if typing.get_origin(arg) is dict]
        kind = dicts[0] if dicts and isinstance(values, dict) else args[0]
        return _build(kind, values, path, source)
    elif cls is Any:
        return values
    elif cls is float:
        is_number = isinstance(values, (int, float)) and not isinstance(values, bool)
        fits = is_number and abs(values) <= sys.float_info.max  # no NaN, which JSON may hold
    else:
        fits = isinstance(values, cls) and (cls is bool or not isinstance(values, bool))
    if not fits:
        raise ValueError(f"{source}: {path[:-1]}: expected {cls}, received {values!r:.200}.")
    return values


def _build_dataclass(cls: Any, values: Any, path: str, source: str | Path, default: Any) -> Any:
    """Return an instance of a dataclass; fields that `values` lacks are those of `default`."""
    hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
    names = {field.name for field in fields}
    needed = {field.name for field in fields if _has_no_default(field)}
    given = set(values) if isinstance(values, dict) else set()
    if not isinstance(values, dict) or not needed <= given <= names:
        mismatched = sorted(given - names | needed - given)
        raise ValueError(f"{source}: unknown or missing fields: {path}{', '.join(mismatched)}.")
    defaults = {field.name: _default(field) for field in fields}
    built = {
        name: _build(hints[name], value, f"{path}{name}.", source, defaults[name])
        for name, value in values.items()
    }
    return cls(**built) if default is None else dataclasses.replace(default, **built)


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a field that is a dataclass itself; None for others."""
    made = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
    return made if dataclasses.is_dataclass(made) else None


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def with_crf(config: TrainConfig, path: Path) -> TrainConfig:
    """Return the configuration with the values of a settings file for the network's CRF."""
    model = config.model
    if "crf" not in {field.name for field in dataclasses.fields(model)}:
        raise ValueError(
            f"--crf needs a recipe of a network with a CRF, DeepLab or PiecewiseCRF, received "
            f"{config.network}."
        )
    values = dataclasses.asdict(model.crf or CRFConfig()) | read_crf(path)
    model = dataclasses.replace(model, crf=build(CRFConfig, values, path))
    changes: dict[str, Any] = {"model": model}  # a field of each network's configuration
    return dataclasses.replace(config, **changes)
