"""Training and scoring of the rows of a sweep."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keras_dpn.inference import Predictor

from ..configs.serialization import to_json
from ..engine.setup import build_model, open_dataset, with_absolute_paths
from ..evaluation.evaluator import evaluate
from ..evaluation.results import run_dataset, write_evaluation
from ..rundir.paths import (
    CONFIG,
    FLOW,
    MODEL,
    RESULTS,
    load_config,
    load_model,
    load_stages,
    read_json,
    stage_dir,
    write_atomically,
    write_json,
)
from .definitions import Row, Sweep
from .plan import Job, Place, make_plan
from .table import ABLATION, markdown, summarize, table

Places = Mapping[tuple[str, int], Place]


def ablate(
    sweep: Sweep,
    work_dir: Path,
    *,
    seeds: Sequence[int] = (0,),
    split: str = "val",
    data_dir: Path | None = None,
    weights: str | None = None,
    trained: Places | None = None,
    block: int = 1,
    devices: str = "all",
    console: Console | None = None,
) -> dict[str, Any]:
    """Trains what is not trained yet, scores each row, and writes the table.

    A run that fails does not keep the others from being trained.

    Args:
        sweep: the rows.
        work_dir: receives everything.
        seeds: each row is trained with each of them.
        split: the rows are scored on.
        data_dir: the data set's; that of the configurations by default.
        weights: a file as `training.train` takes it, for the rows that start from no other row;
            that of the configurations by default.
        trained: networks of rows that need no run, by name and seed.
        block: as in `metrics.paired_bootstrap`.
        devices: as in `training.train`.
        console: shows what is done; stdout by default.

    Returns:
        As `summarize`.

    Raises:
        ValueError: before anything is trained, on settings that don't fit the data or each other,
            and a work_dir that holds other runs; at the end, where a run has failed.
    """
    console, work_dir, trained = console or Console(), work_dir.resolve(), dict(trained or {})
    sweep = _with_paths(sweep, work_dir, data_dir, weights)
    num_classes = _check_data(sweep, work_dir, split, block)
    plan = make_plan(sweep, seeds, work_dir / "runs", num_classes, trained)
    for job in plan.jobs:
        _check_run(job)
    failed: dict[Path, str] = {}
    runs = {job.run for job in plan.jobs}
    ready = {key: place for key, place in plan.places.items() if place.run not in runs}
    evaluations = _score(ready, sweep, work_dir, split)
    for number, job in enumerate(plan.jobs, start=1):
        console.print(f"{number} of {len(plan.jobs)}: {_describe(job)}", soft_wrap=True)
        if failure := _train(job, failed, num_classes, devices):
            failed[job.run] = failure
            continue
        ready = {key: place for key, place in plan.places.items() if place.run == job.run}
        evaluations |= _score(ready, sweep, work_dir, split)
        _write_table(summarize(sweep, evaluations, seeds, split, block), work_dir)
    summary = summarize(sweep, evaluations, seeds, split, block)
    _write_table(summary, work_dir)
    console.print(table(summary))
    console.print(f"written: {work_dir / 'ablation.md'}", soft_wrap=True)
    if failed:
        words = "; ".join(f"{run}: {failure}" for run, failure in failed.items())
        raise ValueError(f"{len(failed)} of {len(plan.jobs)} runs failed. {words}.")
    return summary


def _with_paths(sweep: Sweep, work_dir: Path, data_dir: Path | None, weights: str | None) -> Sweep:
    """The sweep with configurations that name everything that they need."""

    def filled(row: Row) -> Row:
        config = row.config
        if weights and row.start is None:
            config = replace(config, weights=weights)
        config = with_absolute_paths(config, data_dir)
        if config.clips and config.data.flow_dir is None:  # computed once for all
            config = replace(config, data=replace(config.data, flow_dir=str(work_dir / FLOW)))
        config.check()
        return replace(row, config=config)

    return replace(sweep, rows=tuple(map(filled, sweep.rows)))


def _check_data(sweep: Sweep, work_dir: Path, split: str, block: int) -> int:
    """The number of classes, which is the same for all rows."""
    places = {(row.config.data.dataset, row.config.data.data_dir): row for row in sweep.rows}
    opened = {row.name: open_dataset(row.config, work_dir) for row in places.values()}
    for dataset in opened.values():
        if len(images := dataset.examples(split)) <= block:
            raise ValueError(
                f"The bootstrap needs two blocks of images or more; {dataset.name} {split} has "
                f"{len(images)} images, and --block is {block}."
            )
    names = {name: dataset.classes.names for name, dataset in opened.items()}
    if len(set(names.values())) > 1:
        raise ValueError(f"Expected the same classes for all rows, received {names}.")
    return len(next(iter(names.values())))


def _check_run(job: Job) -> None:
    """Refuse a directory that holds a run of another configuration."""
    path = job.run / CONFIG
    if path.exists() and _without_paths(read_json(path)) != _without_paths(to_json(job.config)):
        raise ValueError(
            f"{path}: the run was configured otherwise than the sweep's; name another --work-dir, "
            "or delete the run."
        )


def _without_paths(values: dict[str, Any]) -> dict[str, Any]:
    values = json.loads(json.dumps(values))
    del values["weights"], values["data"]["data_dir"]
    values["data"].pop("flow_dir", None)
    return values


def _describe(job: Job) -> str:
    stages = [s.name for s in job.config.stages if job.config.stage(s.name).epochs]
    origin = f", from {job.shared or job.start}" if job.shared or job.start else ""
    return f"{job.run.name}: {', '.join(stages)}{origin}"


def _train(job: Job, failed: Mapping[Path, str], num_classes: int, devices: str) -> str | None:
    """Train a run, or the rest of it, in a process of its own; what went wrong, if anything."""
    if (job.run / RESULTS).exists():
        return None
    before = job.shared or job.start
    if before and before.run in failed:
        return f"needs {before}"
    config = job.config
    if job.shared:
        config = replace(config, weights=str(_write_start(job, num_classes)))
    elif job.start:
        config = replace(config, weights=str(_model_file(job.start)))
    write_json(job.run / CONFIG, to_json(config))
    command = [sys.executable, "-m", "training.train", str(job.run / CONFIG)]
    options = ["--work-dir", str(job.run), "--resume", "--devices", devices]
    code = subprocess.run(command + options).returncode
    return None if code == 0 else f"exit code {code}"


def _write_start(job: Job, num_classes: int) -> Path:
    """A run's network with the weights that it shares, its others untrained."""
    path = job.run / "start.keras"
    keras.utils.set_random_seed(job.config.seed)
    model = build_model(job.config, num_classes)
    trained = load_model(*job.shared)
    output = next(s.output for s in job.config.stages if s.name == job.shared.stage)
    try:
        model.head_model(output).set_weights(trained.head_model(output).get_weights())
    except ValueError as error:
        raise ValueError(
            f"{job.shared}: expected the network of {job.run.name} up to {output}: {error}"
        ) from error
    write_atomically(path, model.save)
    return path


def _model_file(place: Place) -> Path:
    return (stage_dir(*place) if place.stage else place.run) / MODEL


def _score(places: Places, sweep: Sweep, work_dir: Path, split: str) -> dict[tuple[str, int], Path]:
    """The evaluations of rows, by name and seed, made anew where they are not of this network.

    Rows that look at one network are scored in one pass.
    """
    files, missing = {}, defaultdict(list)
    for (name, seed), place in places.items():
        file = files[name, seed] = work_dir / "evaluations" / f"{name}_seed{seed}_{split}.json"
        output = load_stages(place.run)[place.stage].output if place.stage else sweep[name].output
        # As the file has it: without tuples.
        scored = {"run": str(place.run), "stage": place.stage, "output": output}
        scored = json.loads(json.dumps(scored | {"crf": sweep[name].crf}))
        if not _is_scored(scored, file, place):
            missing[place, json.dumps(scored["crf"])].append((file, scored))
    for (place, _), rows in missing.items():
        model, crf = load_model(*place), rows[0][1]["crf"]
        outputs = {row["output"] or "final" for _, row in rows}
        heads = None if outputs == {"final"} else sorted(outputs)  # some networks have no others
        predictor = Predictor(model, heads=heads, crf=crf)
        options = {"consistency": sweep.consistency, "progress": True}
        found = evaluate(predictor, run_dataset(place.run), split, **options)
        for file, row in rows:
            write_evaluation(file, {**_of_stage(found, row["output"] or "final"), **row})
    return files


def _of_stage(evaluation: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An evaluation of one stage alone, and of what the CRF made of it."""
    names = (name, f"{name}+crf")
    stages = [stage for stage in evaluation["stages"] if stage["name"] in names]
    confusions = evaluation["per_image"]["confusions"]
    confusions = {stage["name"]: confusions[stage["name"]] for stage in stages}
    per_image = {**evaluation["per_image"], "confusions": confusions}
    return {**evaluation, "stages": stages, "per_image": per_image}


def _is_scored(scored: Mapping[str, Any], file: Path, place: Place) -> bool:
    if not file.exists():
        return False
    found = read_json(file)
    same = all(key in found and found[key] == value for key, value in scored.items())
    return same and file.stat().st_mtime > _model_file(place).stat().st_mtime


def _write_table(summary: Mapping[str, Any], work_dir: Path) -> None:
    write_json(work_dir / ABLATION, summary)
    content = markdown(summary).encode()
    write_atomically(work_dir / "ablation.md", lambda temporary: temporary.write_bytes(content))


def read_trained(
    entries: Sequence[str], sweep: Sweep, seeds: Sequence[int]
) -> dict[tuple[str, int], Place]:
    """The networks that "ROW=RUN" or "ROW=RUN:STAGE" name, by row and seed.

    Raises:
        ValueError: on a row, run or stage that is not there, and a run of another seed.
    """
    found = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if name not in {row.name for row in sweep.rows} or not text:
            raise ValueError(
                f"--trained: expected ROW=RUN or ROW=RUN:STAGE, with one of the rows "
                f"{', '.join(row.name for row in sweep.rows)}, received {entry!r}."
            )
        run_dir, stage = Path(text), sweep[name].stage
        if not run_dir.exists() and ":" in text:
            head, stage = text.rsplit(":", 1)
            run_dir = Path(head)
        place, seed = Place(run_dir.resolve(), stage), load_config(run_dir)["seed"]
        if not _model_file(place).is_file():
            raise ValueError(f"{_model_file(place)}: no such file; expected a trained network.")
        if seed not in seeds:
            raise ValueError(f"{run_dir}: the run has the seed {seed}; --seeds are {list(seeds)}.")
        found[name, seed] = place
    return found
