"""A network in one line, until `TrainConfig.summary` has it."""

from collections.abc import Iterator, Mapping
from typing import Any


def summary(config: Mapping[str, Any]) -> list[str]:
    """The network and the precision, in parts, from a run's configuration."""
    return [*_PARTS[config["network"]](config["model"]), config["precision"]]


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
