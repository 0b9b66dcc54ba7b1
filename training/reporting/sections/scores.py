"""A run's numbers as tables."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ...evaluation.results import OTHER_SCORES, SCORES, score_definitions
from .. import html

TITLES = {
    "unary": "unary term",
    "triple": "+ triple penalty (b12)",
    "contexts": "+ label contexts (b14)",
    "multiscale": "+ multi-scale branches",
    "final": "final",
    "joint": "+ joint tuning",
    "finish": "+ finish",
}
_CALIBRATION, _CONSISTENCY = "calibration error (ECE)", "temporal consistency"
_OBJECTS = {"TA": "ta", "LA": "la", "BA": "ba"}


def facts(stages: Sequence[Mapping[str, Any]]) -> str:
    """The few numbers that one looks for first."""
    first, last = stages[0], stages[-1]
    found = {"mean IoU": f"{percent(last['miou'])} %"}
    if last is not first:
        found["points of mean IoU over the first stage"] = points(last["miou"], first["miou"])
    found["pixel accuracy"] = f"{percent(last['accuracy'])} %"
    if (consistency := _other(last, _CONSISTENCY)) is not None:
        found["temporal consistency"] = f"{percent(consistency)} %"
    found["of training"] = duration(sum(stage.get("seconds") or 0 for stage in stages))
    items = "".join(
        f"<div><b>{value}</b><span>{name}</span></div>" for name, value in found.items()
    )
    return f'<div class="facts">{items}</div>'


def score_table(
    stages: Sequence[Mapping[str, Any]], names: Sequence[str], *, from_first: bool = False
) -> str:
    """Scores, IoU of each class, and what training took; a column for each stage or run.

    Args:
        stages: "name", the scores in 0..1 or None, and any of `TRAINING`.
        names: the L classes.
        from_first: show the changes from the first column, not from the one before.
    """
    style = {"from_first": from_first}
    means = [
        _scores(title, [s[key] for s in stages], "mean", **style) for key, title in SCORES.items()
    ]
    known = {title: [_other(stage, title) for stage in stages] for title in OTHER_SCORES}
    others = [
        _scores(title, values, "mean", lower_is_better=title == _CALIBRATION, **style)
        for title, values in known.items()
        if any(value is not None for value in values)
    ]
    single = [_scores(name, [s["iou"][i] for s in stages], **style) for i, name in enumerate(names)]
    training = [
        html.row(title, ("–" if s.get(key) is None else form(s[key]) for s in stages))
        for key, (title, form) in TRAINING.items()
        if any(s.get(key) is not None for s in stages)
    ]
    head = ["", *(TITLES.get(stage["name"], stage["name"]) for stage in stages)]
    return html.table(head, [means, others, single, training]) + _definitions(stages)


def object_table(stage: Mapping[str, Any], names: Sequence[str]) -> str:
    """TA, LA and BA of each class, folded away; nothing of stages that know none."""
    if "objects" not in stage:
        return ""
    found = stage["objects"]["per_class"]
    rows = [
        html.row(name, (percent(found[key][i]) for key in _OBJECTS.values()))
        for i, name in enumerate(names)
    ]
    title = escape(TITLES.get(stage["name"], stage["name"]))
    table = html.table(["", *_OBJECTS], [rows])
    return f"<details><summary>TA, LA and BA of each class: {title}</summary>{table}</details>"


def _definitions(stages: Sequence[Mapping[str, Any]]) -> str:
    """What TA, LA, BA and ECE are, where they are shown."""
    known = next((s for s in stages if "objects" in s and "calibration" in s), None)
    return f'<p class="quiet">{escape(score_definitions(known))}.</p>' if known else ""


def _other(stage: Mapping[str, Any], title: str) -> float | None:
    """One of `OTHER_SCORES`; None of a stage that was scored without it."""
    group, key = OTHER_SCORES[title]
    return stage.get(group, {}).get(key)


def _scores(
    name: str,
    values: Sequence[float | None],
    style: str = "",
    *,
    from_first: bool = False,
    lower_is_better: bool = False,
) -> str:
    """A row of values in per cent, each with the change from the one before, or from the first."""
    cells = [percent(values[0])]
    for i, value in enumerate(values[1:]):
        change = _change(value, values[0 if from_first else i], lower_is_better)
        cells.append(f"{percent(value)} <small>{change}</small>")
    return html.row(name, cells, style)


def settings(results: Mapping[str, Any]) -> str:
    """Every field of the configuration and the versions, folded away; no stage without epochs."""
    config = {
        name: values
        for name, values in results.get("config", {}).items()
        if not (isinstance(values, Mapping) and values.get("epochs") == 0)
    }
    shown = {**results, "config": config}
    rows = [html.row(name, [escape(value)]) for name, value in _settings(shown).items()]
    table = html.table([], [rows], "config")
    return f"<details><summary>All {len(rows)} settings and versions</summary>{table}</details>"


def differences(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """The settings and versions in which runs differ; their results by the runs' titles."""
    found = [_settings(results) for results in runs.values()]
    rows = [
        html.row(name, map(escape, values))
        for name in dict.fromkeys(name for one in found for name in one)
        if len(set(values := [one.get(name, "–") for one in found])) > 1
    ]
    return html.table(["", *runs], [rows], "config") if rows else "<p>None.</p>"


def _settings(results: Mapping[str, Any]) -> dict[str, str]:
    values = {**_flat(results.get("config", {})), **_flat(results.get("versions", {}))}
    return {name: str(value) for name, value in values.items()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names, as the command line takes them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def summary(config: Mapping[str, Any]) -> str:
    """The network in one line, from a run's configuration."""
    model, parts = config["model"], _PARTS[config.get("network", "DPN")]
    return "; ".join([*parts(model), config["precision"]])


def _dpn(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"{model['trunk']} trunk, width {model['width']}"
    yield from _context(model)
    yield from _field(model)


def _context(model: Mapping[str, Any]) -> Iterator[str]:
    if model.get("global_context"):  # older runs don't know it
        yield "global context"


def _field(model: Mapping[str, Any], frames: str = "") -> Iterator[str]:
    """The random field's windows; those that span `frames`, as "3×", begin with these."""
    if model["pairwise"]:
        yield f"b12 {frames}{model['triple_window']}×{model['triple_window']}"
    if model["pairwise"] == "contexts":
        n, k = model["context_window"], model["mixtures"]
        yield f"b13 {frames}{n}×{n}, {k} mixtures"


def _spatial_temporal_dpn(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"{model['trunk']} trunk, width {model['width']}"
    links = {"flow": "linked along the optical flow", "static": "not linked by optical flow"}
    yield f"{model['frames']} frames, {links[model['linking']]}"
    yield from _context(model)
    yield from _field(model, f"{model['frames']}×")


def _deeplab(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"{model['variant']}, width {model['width']}"
    yield from _context(model)
    if model["multiscale"]:
        yield "multi-scale branches"
    if model["crf"]:
        yield f"CRF, {model['crf']['num_iterations']} iterations"


def _parsenet(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"width {model['width']}"
    if model["fusion"]:
        grids = " and ".join(f"{n}×{n}" for n in model["grid"])
        yield f"{model['fusion']} fusion of context, {grids}"
    if model["combine"] == "conv":
        yield "joined by a 1×1 convolution"
    yield from _normalization(model)


def _fcn(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"{' + '.join(model['taps'])}, width {model['width']}"
    yield from _normalization(model)


def _piecewise_crf(model: Mapping[str, Any]) -> Iterator[str]:
    potentials = ["unary"] * model["unary"] + [f"“{name}”" for name in model["relations"]]
    yield f"{' + '.join(potentials)}, width {model['width']}"
    yield f"scales {', '.join(f'{scale:g}' for scale in model['scales'])}"
    if model["relations"]:
        yield f"mean field, {model['num_iterations']} iterations"
    if model["crf"]:
        yield f"CRF, {model['crf']['num_iterations']} iterations"


def _normalization(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"normalised to {model['init_scale']:g}" if model["normalize"] else "not normalised"


_PARTS = {
    "DPN": _dpn,
    "DeepLab": _deeplab,
    "FCN": _fcn,
    "ParseNet": _parsenet,
    "PiecewiseCRF": _piecewise_crf,
    "SpatialTemporalDPN": _spatial_temporal_dpn,
}


def percent(value: float | None) -> str:
    """0..1 as per cent with one decimal."""
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None, before: float | None) -> str:
    """A change in points of per cent, with its sign."""
    if value is None or before is None:
        return "–"
    return f"{100 * (value - before):+.1f}".replace("-", "−")


def _change(value: float | None, before: float | None, lower_is_better: bool) -> str:
    text = points(value, before)
    if text in ("–", "+0.0", "−0.0"):
        return f'<span class="quiet">{"" if text == "–" else "±0.0"}</span>'
    better = (text[0] == "+") != lower_is_better
    return f'<span class="{"up" if better else "down"}">{text}</span>'


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


TRAINING = {
    "epochs": ("epochs", "{:,}".format),
    "steps": ("steps", "{:,}".format),
    "seconds": ("time", duration),
    "parameters_trained": ("parameters trained", "{:,}".format),
}
