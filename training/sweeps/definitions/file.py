"""Sweeps of the user's own, in files, and fields that replace those of all rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from ...configs.recipes import RECIPES, find_recipe
from ...configs.schema import TrainConfig
from ...configs.serialization import build, from_json, to_json
from ...utils.files import read_json
from .base import Row, Sweep

_SWEEP_FIELDS = ("title", "rows", "reference", "consistency", "recipe", "set")
_ROW_FIELDS = (*(f.name for f in fields(Row) if f.name != "config"), "recipe", "set")


def read_sweep(path: Path) -> Sweep:
    """Return the sweep in a file.

    Args:
        path: a JSON object with the fields of `Sweep`; `rows` are objects with those of `Row`. In
            place of a configuration either has `recipe`, a recipe's name or the config.json of a
            run, and `set`, a dictionary from dotted fields to values. A row's own come after those
            of the whole file. Without `reference` the first row is it.

    Raises:
        ValueError: names the file, and the row or field that is unknown or wrong.
    """
    values = _object(read_json(path), path, _SWEEP_FIELDS)
    rows = values.get("rows")
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path}: expected a list `rows` with at least one row.")
    found = [_row(row, values, f"{path}: row {i}", path) for i, row in enumerate(rows, start=1)]
    given = {name: values[name] for name in ("title", "reference", "consistency") if name in values}
    named = {"title": path.stem, "reference": found[0].name, **_typed(Sweep, given, path)}
    try:
        return Sweep(rows=tuple(found), **named)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def with_fields(config: TrainConfig, values: Mapping[str, Any], source: str) -> TrainConfig:
    """Return a configuration with other values of some fields.

    Args:
        config: a configuration.
        values: by dotted names, such as `model.local_conv.window`; hyphens are as good. A stage's
            `epochs` without its `steps` replace the configuration's steps, too.
        source: of the values, for messages.

    Raises:
        ValueError: for a field that is unknown or a value of another type.
    """
    changed, names = to_json(config), {name.replace("-", "_") for name in values}
    for name, value in values.items():
        *groups, last = name.replace("-", "_").split(".")
        group: Any = changed
        for key in groups:
            group = group.get(key) if isinstance(group, dict) else None
        if not isinstance(group, dict) or last not in group or name in ("network", "version"):
            raise ValueError(f"{source}: expected a field of the configuration, received {name!r}.")
        group[last] = value
        if last == "epochs" and ".".join([*groups, "steps"]) not in names:
            group["steps"] = 0
    return from_json(json.loads(json.dumps(changed)), source)


def override(sweep: Sweep, settings: Sequence[str]) -> Sweep:
    """Return a sweep with other values of some fields in all rows.

    Args:
        sweep: a sweep.
        settings: each as FIELD=VALUE; values are JSON, or else strings.

    Raises:
        ValueError: for other settings, fields and values, and stages that the rows score and that
            are then left out.
    """
    values = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator:
            raise ValueError(f"--override {setting}: expected FIELD=VALUE.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    rows = (
        replace(row, config=with_fields(row.config, values, "--override")) for row in sweep.rows
    )
    return replace(sweep, rows=tuple(rows)) if values else sweep


def _row(values: Any, common: Mapping[str, Any], source: str, path: Path) -> Row:
    values = dict(_object(values, source, _ROW_FIELDS))
    own, shared = values.pop("set", {}), common.get("set", {})
    recipe = values.pop("recipe", common.get("recipe"))
    if not isinstance(recipe, str) or not isinstance(values.get("name"), str):
        raise ValueError(f"{source}: expected `name`, and `recipe` here or for all rows.")
    if not isinstance(own, dict) or not isinstance(shared, dict):
        raise ValueError(f"{source}: `set`: expected an object of fields and values.")
    if recipe.endswith(".json"):
        config = from_json(read_json(path.parent / recipe), recipe)
    else:
        config = RECIPES[find_recipe(recipe)]
    config = with_fields(with_fields(config, shared, source), own, source)
    return Row(config=config, **_typed(Row, values, source))


def _typed(cls: type[Any], values: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
    """Return values of a dataclass's fields; ValueError for one of another type."""
    types = get_type_hints(cls)
    return {name: build(types[name], value, source, name) for name, value in values.items()}


def _object(values: Any, source: Any, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{source}: expected a JSON object, received {type(values).__name__}.")
    if unknown := [name for name in values if name not in known]:
        raise ValueError(
            f"{source}: unknown fields: {', '.join(unknown)}; expected some of {', '.join(known)}."
        )
    return values
