"""A run's configuration as JSON."""

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, Literal

from .networks import network_config
from .schema import CONFIG_VERSION, TrainConfig


def to_json(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain JSON values, with the name of the network."""
    return {"network": config.network.__name__, **dataclasses.asdict(config)}


def from_json(values: dict[str, Any], source: str | Path = "config.json") -> TrainConfig:
    """The configuration that `to_json` wrote.

    A field that the file lacks has its default, as in the run that wrote it: fields of the same
    version came later, and by default they change nothing.

    Raises:
        ValueError: names the file and the field if one is unknown, missing without a default or of
            a wrong type, or if the file is of another version or for an unknown network.
    """
    version = values.get("version") if isinstance(values, dict) else None
    if version != CONFIG_VERSION:
        raise ValueError(
            f"{source}: expected a configuration of version {CONFIG_VERSION}, found version "
            f"{version!r}; write it anew with the command that made it."
        )
    fields = dict(values)
    return build(network_config(fields.pop("network", None), source), fields, source)


def build(cls, values: Any, source: str | Path):
    """An instance of a dataclass from JSON; defaults and ValueError as `from_json`."""
    return _build(cls, values, "", source)


def _build(cls, values, path, source):
    """An instance of a dataclass, a tuple, a dict or a plain value from its JSON form."""
    if dataclasses.is_dataclass(cls):
        hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
        names = {field.name for field in fields}
        needed = {field.name for field in fields if _has_no_default(field)}
        given = set(values) if isinstance(values, dict) else set()
        if not isinstance(values, dict) or not needed <= given <= names:
            odd = sorted(given - names | needed - given)
            raise ValueError(f"{source}: unknown or missing fields: {path}{', '.join(odd)}.")
        return cls(**{k: _build(hints[k], values[k], f"{path}{k}.", source) for k in values})
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
    elif cls is float:
        fits = isinstance(values, (int, float)) and not isinstance(values, bool)
    else:
        fits = isinstance(values, cls) and (cls is bool or not isinstance(values, bool))
    if not fits:
        raise ValueError(f"{source}: {path[:-1]}: expected {cls}, received {values!r}.")
    return values


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING
