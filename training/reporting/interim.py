"""Typed results until training.evaluation has them: the same names and fields, to be deleted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation import comparison
from ..evaluation import results as old
from ..evaluation.comparison import Counts, load_counts
from ..prediction.images import STAGE_TITLES
from ..rundir.paths import load_stages, read_json
from ..sweeps.table import ABLATION

__all__ = ["Counts", "load_counts"]

SCORES = old.SCORES
OTHER_SCORES = {".".join(path): title for title, path in old.OTHER_SCORES.items()}


@dataclass(frozen=True)
class Objects:
    per_class: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Trimap:
    around: str
    miou: Sequence[float | None]


@dataclass(frozen=True)
class HeadScores:
    name: str
    iou: Sequence[float | None]
    confusion: Sequence[Sequence[int]] | None
    objects: Objects | None
    calibration: Any
    trimap: Trimap | None
    values: Mapping[str, Any]

    @classmethod
    def from_json(cls, stage):
        objects = stage.get("objects")
        trimap = stage.get("trimap")
        return cls(
            stage["name"],
            stage["iou"],
            stage.get("confusion"),
            objects and Objects(objects["per_class"]),
            stage.get("calibration"),
            trimap and Trimap(trimap["around"], trimap["miou"]),
            stage,
        )

    def value(self, key):
        found: Any = self.values
        for part in key.split("."):
            found = found.get(part) if found else None
        return found


@dataclass(frozen=True)
class Subject:
    run: Path
    stage: str | None
    head: str | None


@dataclass(frozen=True)
class Evaluation:
    split: str
    num_images: int
    crf: Mapping[str, Any] | None
    heads: tuple[HeadScores, ...]
    subject: Subject | None

    @classmethod
    def load(cls, path):
        found = read_json(path)
        subject = None
        if "run" in found:
            subject = Subject(Path(found["run"]), found["stage"], found["output"])
        heads = tuple(map(HeadScores.from_json, found["stages"]))
        return cls(found["split"], found.get("images"), found.get("crf"), heads, subject)

    def head(self):
        return self.heads[-1]


@dataclass(frozen=True)
class Comparison:
    difference: float
    interval: tuple[float, float]
    win_rate: float

    @classmethod
    def from_json(cls, found):
        return cls(found["difference"], tuple(found["interval"]), found["wins"])


def compare(first, second, *, block_size):
    return Comparison.from_json(comparison.compare(first, second, block=block_size))


@dataclass(frozen=True)
class RowSummary:
    name: str
    title: str
    paper: float | None
    evaluations: Mapping[str, str]
    against: Comparison | None


@dataclass(frozen=True)
class Summary:
    title: str
    seeds: Sequence[int]
    split: str
    reference: str
    block_size: int
    rows: tuple[RowSummary, ...]

    @classmethod
    def load(cls, directory):
        found = read_json(directory / ABLATION)
        rows = tuple(
            RowSummary(
                *(row[key] for key in ("name", "title", "paper", "evaluations")),
                row["against"] and Comparison.from_json(row["against"]),
            )
            for row in found["rows"]
        )
        return cls(*(found[k] for k in ("title", "seeds", "split", "reference", "block")), rows)


def score_definitions(head: HeadScores) -> str:
    return old.score_definitions(head.values)


def evaluation_files(work_dir: Path) -> dict[str, Path]:
    paths = sorted(work_dir.glob("evaluation_*.json"))
    return {path.stem.removeprefix("evaluation_"): path for path in paths}


def head_title(name: str) -> str:
    return STAGE_TITLES.get(name, name)


def stage_heads(work_dir: Path) -> dict[str, str]:
    return {name: stage.output for name, stage in load_stages(work_dir).items()}


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
