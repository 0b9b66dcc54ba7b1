"""Score the rows of a sweep, each network in one pass, unless its evaluation exists."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keras_dpn.inference import Predictor

from ..evaluation.evaluator import evaluate
from ..evaluation.metrics import MetricSettings
from ..evaluation.results import Evaluation, Subject
from ..rundir.dataset import run_dataset
from ..rundir.paths import load_stages
from .definitions import Row, Sweep
from .plan import CheckpointRef, RowKey


@dataclass(frozen=True)
class _Request:
    """The scores of a row to compute, and the file that receives them."""

    row: Row
    file: Path
    subject: Subject
    crf: Mapping[str, Any] | None

    @property
    def head(self) -> str:
        return self.subject.head or "final"

    def is_answered(self, checkpoint: CheckpointRef) -> bool:
        """Return whether the file contains this evaluation, and is newer than the network."""
        if not self.file.exists():
            return False
        evaluation = Evaluation.load(self.file, with_counts=False)
        same = (evaluation.subject, evaluation.crf) == (self.subject, self.crf)
        return same and self.file.stat().st_mtime > checkpoint.file.stat().st_mtime


def score(
    checkpoints: Mapping[RowKey, CheckpointRef], sweep: Sweep, work_dir: Path, split: str
) -> dict[RowKey, Path]:
    """Write the evaluations of rows; keep those that are newer than their network.

    Args:
        checkpoints: each row's network, by the row's name and the seed.
        sweep: the rows.
        work_dir: receives the evaluations.
        split: the rows are scored on.

    Returns:
        The evaluations' JSON files.
    """
    files = {}
    missing = defaultdict(list)
    for (name, seed), checkpoint in checkpoints.items():
        file = work_dir / "evaluations" / f"{name}_seed{seed}_{split}.json"
        request = _request(sweep[name], checkpoint, file)
        files[name, seed] = file
        if not request.is_answered(checkpoint):
            missing[checkpoint, json.dumps(request.crf)].append(request)
    for (checkpoint, _), requests in missing.items():
        _evaluate(checkpoint, requests, sweep, split)
    return files


def _request(row: Row, checkpoint: CheckpointRef, file: Path) -> _Request:
    head = row.output
    if checkpoint.stage:
        head = load_stages(checkpoint.run)[checkpoint.stage].head
    crf = json.loads(json.dumps(row.crf))  # as in files: lists for tuples
    return _Request(row, file, Subject(checkpoint.run, checkpoint.stage, head), crf)


def _evaluate(
    checkpoint: CheckpointRef, requests: list[_Request], sweep: Sweep, split: str
) -> None:
    """Score a network at all heads of rows with the same CRF."""
    heads = {request.head for request in requests}
    predictor = Predictor(
        checkpoint.load(),
        heads=None if heads == {"final"} else sorted(heads),  # some networks have no others
        crf=requests[0].crf,
    )
    settings = MetricSettings(consistency=sweep.consistency)
    data = requests[0].row.config.data  # a run that is reused may name another directory
    data_dir = Path(data.data_dir) if data.data_dir else None
    dataset = run_dataset(checkpoint.run, data.dataset, data_dir)
    evaluation = evaluate(predictor, dataset, split, settings, show_progress=True)
    for request in requests:
        heads_of_row = evaluation.select([request.head, f"{request.head}+crf"])
        replace(heads_of_row, subject=request.subject).save(request.file)
