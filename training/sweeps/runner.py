"""Train and score the rows of a sweep."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from ..configs.schema import TrainConfig
from ..configs.serialization import from_json, to_json
from ..data.dataset import Dataset
from ..engine.changes import differences
from ..engine.checks import check_config
from ..engine.networks import build_model
from ..engine.plan import resolve_steps
from ..engine.setup import with_absolute_paths
from ..rundir.dataset import open_dataset
from ..rundir.paths import CONFIG, FLOW, RESULTS, load_config
from ..utils.counts import counted
from ..utils.files import atomic_file, read_json, write_json
from .definitions import Row, Sweep
from .plan import CheckpointRef, Job, RowKey, make_plan
from .scoring import score
from .table import Summary, check_tables, summarize

logger = logging.getLogger("keras_dpn")

# A run that is continued may have others.
_PATHS = ("weights", "weights_sha256", "data.data_dir", "data.flow_dir")

Executor = Callable[[Path], int]
"""Trains or resumes the run of a directory with a config.json; returns the exit code."""


@dataclass(frozen=True)
class SubprocessExecutor:
    """Train each run by `keras-dpn train` in a process of its own, which frees all memory.

    Args:
        devices: as in `engine.devices.choose_devices`.
    """

    devices: str = "all"

    def __call__(self, run: Path) -> int:
        """Train, or resume, a run; return the exit code."""
        package = __name__.partition(".")[0]  # `training`, or `keras_dpn_training` when installed
        command = [sys.executable, "-P", "-m", package, "train", str(run / CONFIG)]
        options = ["--work-dir", str(run), "--resume", "--devices", self.devices]
        # It imports what this process does, whatever folders the current directory has.
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command + options, env=environment).returncode


@dataclass(frozen=True)
class Outcome:
    """The result of a sweep.

    Args:
        summary: the table.
        num_runs: number of planned runs.
        failures: error messages by the run's directory.
    """

    summary: Summary
    num_runs: int
    failures: Mapping[Path, str]

    def raise_failures(self) -> None:
        """Raise ValueError if a run has failed."""
        if self.failures:
            words = "; ".join(f"{run}: {failure}" for run, failure in self.failures.items())
            raise ValueError(f"{len(self.failures)} of {self.num_runs} runs failed. {words}.")


def run(
    sweep: Sweep,
    work_dir: Path,
    executor: Executor,
    *,
    seeds: Sequence[int] = (0,),
    split: str = "val",
    data_dir: Path | None = None,
    weights: str | None = None,
    reuse: Mapping[RowKey, CheckpointRef] | None = None,
    block_size: int = 1,
) -> Outcome:
    """Train the missing runs, score each row, and write the table after each run.

    If a run fails, or its network can't be scored, the others are still trained.

    Args:
        sweep: the rows.
        work_dir: receives all files.
        executor: trains a run.
        seeds: each row is trained with each of them.
        split: the rows are scored on.
        data_dir: directory of the dataset; that of the configurations by default.
        weights: a file as `keras-dpn train` takes it, for the rows that start from no other row;
            that of the configurations by default.
        reuse: networks of rows that need no run.
        block_size: as in `evaluation.comparison.compare`.

    Raises:
        ValueError: before anything is trained, for seeds that are negative or equal, settings that
            don't fit the data or each other, and a work_dir that holds other runs, or files of
            others under the table's names.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"--seeds: expected distinct numbers from 0 up, received {list(seeds)}.")
    work_dir = work_dir.resolve()
    check_tables(work_dir)
    sweep = _with_paths(sweep, work_dir, data_dir, weights)
    datasets = _open_datasets(sweep, work_dir)
    num_classes = _check_data(datasets, split, block_size)
    sweep = _with_epochs(sweep, datasets)
    plan = make_plan(sweep, seeds, work_dir / "runs", num_classes, reuse)
    for job in plan.jobs:
        _check_run(job)
    untrained = {job.run for job in plan.jobs}
    ready = {key: ref for key, ref in plan.checkpoints.items() if ref.run not in untrained}
    evaluations = score(ready, sweep, work_dir, split)
    failures: dict[Path, str] = {}
    not_scored: dict[Path, str] = {}
    for number, job in enumerate(plan.jobs, start=1):
        logger.info("%d of %d: %s", number, len(plan.jobs), _describe(job))
        if failure := _train(job, failures, num_classes, executor):
            failures[job.run] = failure
            continue
        ready = {key: ref for key, ref in plan.checkpoints.items() if ref.run == job.run}
        try:
            evaluations |= score(ready, sweep, work_dir, split)
        except ValueError as error:
            not_scored[job.run] = f"trained, but not scored: {error}"
        summarize(sweep, evaluations, seeds, split, block_size).save(work_dir)
    summary = summarize(sweep, evaluations, seeds, split, block_size)
    summary.save(work_dir)
    return Outcome(summary, len(plan.jobs), failures | not_scored)


def read_reused(
    entries: Sequence[str], sweep: Sweep, seeds: Sequence[int]
) -> dict[RowKey, CheckpointRef]:
    """Return the networks that "ROW=RUN" or "ROW=RUN:STAGE" name, by row and seed.

    Raises:
        ValueError: for an unknown row, a run or stage without a network, and a run of another seed.
    """
    reused = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if name not in {row.name for row in sweep.rows} or not text:
            raise ValueError(
                f"--reuse: expected ROW=RUN or ROW=RUN:STAGE, with one of the rows "
                f"{', '.join(row.name for row in sweep.rows)}, received {entry!r}."
            )
        run_dir, stage = Path(text), sweep[name].stage
        if not run_dir.exists() and ":" in text:
            head, stage = text.rsplit(":", 1)
            run_dir = Path(head)
        checkpoint, seed = CheckpointRef(run_dir.resolve(), stage), load_config(run_dir)["seed"]
        if not checkpoint.file.is_file():
            raise ValueError(f"{checkpoint.file}: no such file; expected a trained network.")
        if seed not in seeds:
            raise ValueError(f"{run_dir}: the run has the seed {seed}; --seeds are {list(seeds)}.")
        reused[name, seed] = checkpoint
    return reused


def _with_paths(sweep: Sweep, work_dir: Path, data_dir: Path | None, weights: str | None) -> Sweep:
    """Return the sweep with complete configurations."""

    def filled(row: Row) -> Row:
        config = row.config
        if weights and row.start is None:
            config = _with_weights(config, weights)
        config = with_absolute_paths(config, data_dir)
        data: Any = config.data  # that of networks for clips has a `flow_dir`
        if config.clip_frames and data.flow_dir is None:  # computed once for all
            config = replace(config, data=replace(data, flow_dir=str(work_dir / FLOW)))
        check_config(config)
        return replace(row, config=config)

    return replace(sweep, rows=tuple(map(filled, sweep.rows)))


def _open_datasets(sweep: Sweep, work_dir: Path) -> dict[str, Dataset]:
    """Return the dataset of each row by the row's name; each is opened once."""
    opened: dict[Any, Dataset] = {}
    datasets = {}
    for row in sweep.rows:
        data = row.config.data
        source = data.dataset, data.data_dir, row.config.clip_frames
        if source not in opened:
            opened[source] = open_dataset(row.config, work_dir)
        datasets[row.name] = opened[source]
    return datasets


def _with_epochs(sweep: Sweep, datasets: Mapping[str, Dataset]) -> Sweep:
    """Return the sweep with epochs for `steps`, as in the config.json that a run resumes from."""
    rows = (replace(r, config=resolve_steps(r.config, datasets[r.name])) for r in sweep.rows)
    return replace(sweep, rows=tuple(rows))


def _check_data(datasets: Mapping[str, Dataset], split: str, block_size: int) -> int:
    """Return the number of classes, which is the same for all rows."""
    for dataset in datasets.values():
        if len(images := dataset.examples(split)) <= block_size:
            raise ValueError(
                f"The bootstrap needs two blocks of images or more; {dataset.name} {split} has "
                f"{counted(len(images), 'image')}, and --block-size is {block_size}."
            )
    names = {name: dataset.classes.names for name, dataset in datasets.items()}
    if len(set(names.values())) > 1:
        raise ValueError(f"Expected the same classes for all rows, received {names}.")
    return len(next(iter(names.values())))


def _check_run(job: Job) -> None:
    """Refuse a directory that holds a run of another configuration."""
    path = job.run / CONFIG
    if not path.exists():
        return
    earlier = from_json(read_json(path), path)
    fields = [change.field or "network" for change in differences(earlier, job.config)]
    if changed := [field for field in fields if field not in _PATHS]:
        raise ValueError(
            f"{path}: the run's configuration differs from the sweep's in: {', '.join(changed)}; "
            "name another --work-dir, or delete the run."
        )


def _with_weights(config: TrainConfig, weights: str | Path) -> TrainConfig:
    """Return a configuration with other weights, whose SHA-256 isn't that of the recipe's."""
    return replace(config, weights=str(weights), weights_sha256=None)


def _describe(job: Job) -> str:
    stages = [s.name for s in job.config.stages if job.config.stage(s.name).is_trained]
    origin = f", from {job.origin}" if job.origin else ""
    return f"{job.run.name}: {', '.join(stages)}{origin}"


def _train(
    job: Job, failures: Mapping[Path, str], num_classes: int, executor: Executor
) -> str | None:
    """Train or resume a run; return an error message, or None."""
    if (job.run / RESULTS).exists():
        return None
    if job.origin and job.origin.run in failures:
        return f"needs {job.origin}"
    config = job.config
    if job.shared:
        config = _with_weights(config, _write_start(job, job.shared, num_classes))
    elif job.start:
        config = _with_weights(config, job.start.file)
    write_json(job.run / CONFIG, to_json(config))
    code = executor(job.run)
    return None if code == 0 else f"exit code {code}"


def _write_start(job: Job, shared: CheckpointRef, num_classes: int) -> Path:
    """Write a run's network with the weights that it shares; its others are untrained."""
    path = job.run / "start.keras"
    keras.utils.set_random_seed(job.config.seed)
    model = build_model(job.config, num_classes)
    trained = shared.load()
    output = next(s.head for s in job.config.stages if s.name == shared.stage)
    try:
        model.head_model(output).set_weights(trained.head_model(output).get_weights())
    except ValueError as error:
        raise ValueError(
            f"{shared}: expected the network of {job.run.name} up to {output}: {error}"
        ) from error
    with atomic_file(path) as temporary:
        model.save(temporary)
    return path
