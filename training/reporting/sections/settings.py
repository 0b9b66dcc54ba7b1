"""The section of a run's settings, and those in which several runs differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ...rundir.paths import CONFIG
from ..context import ReportContext
from ..rendering import Row, Table, render
from ..runs import Run


class Settings:
    """Every setting and version, folded away, with the command that repeats the training."""

    def applies(self, context: ReportContext) -> bool:
        return True

    def render(self, context: ReportContext) -> Markup:
        rows = [Row(name, [value]) for name, value in settings(context.run).items()]
        table = Table((), [rows], "config")
        config = context.run.work_dir / CONFIG
        return render("settings", config=config, table=table, num_rows=len(rows))


def settings(run: Run) -> dict[str, str]:
    """Return the settings by dotted name and the versions; no settings of unused stages."""
    config = {
        name: values
        for name, values in run.config.items()
        if not (isinstance(values, Mapping) and values.get("epochs") == 0)
    }
    return _texts(config, run.versions)


def differences(runs: Sequence[Run]) -> Table | None:
    """Return the settings and versions in which runs differ; None if they are the same."""
    all_texts = [_texts(run.config, run.versions) for run in runs]
    rows = [
        Row(name, values)
        for name in dict.fromkeys(name for texts in all_texts for name in texts)
        if len(set(values := [texts.get(name, "–") for texts in all_texts])) > 1
    ]
    return Table(["", *(run.title for run in runs)], [rows], "config") if rows else None


def _texts(config: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, str]:
    values = {**_flatten(config), **_flatten(versions)}
    return {name: str(value) for name, value in values.items()}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names, as the command line takes them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
