"""Names of the files in the directory of a training run, and those of them that are JSON."""

from pathlib import Path
from typing import Any

from ..configs.networks import network_config
from ..configs.schema import Stage
from ..utils.files import read_json, reading

CONFIG = "config.json"
CLASSES = "classes.json"  # as in a preset: keras_dpn.presets.files
RESULTS = "results.json"
HISTORY = "history.json"
MODEL = "model.keras"  # keras_dpn.presets.source finds a run by it
CHECKPOINTS = "checkpoints"
STAGES = "stages"
FLOW = "flow"
LOGS = "logs"
CRF = "crf.json"
CRF_SEARCH = "crf_search"

WRITTEN_BY_TRAINING = (CONFIG, CLASSES, RESULTS, HISTORY, MODEL, CHECKPOINTS, STAGES, FLOW, LOGS)
"""The names that a training run gives to its files and directories."""


def load_config(work_dir: Path) -> dict[str, Any]:
    """Read the configuration of a run, as JSON values.

    Raises:
        ValueError: naming the file, if it is no configuration, and the directory without one.
    """
    if not (path := work_dir / CONFIG).is_file():
        raise ValueError(f"{work_dir}: no training run, there is no {CONFIG}.")
    values = read_json(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a configuration, received a {type(values).__name__}.")
    return values


def load_results(work_dir: Path) -> dict[str, Any]:
    """Read the results of a run, as JSON values.

    Raises:
        ValueError: naming the file, if there is none, or it isn't the results of the run's stages.
    """
    if not (path := work_dir / RESULTS).is_file():
        raise ValueError(f"{path}: no such file; expected a finished training run.")
    results = read_json(path)
    with reading(path, "the results of a training run"):
        if not all(isinstance(stage["name"], str) for stage in results["stages"]):
            raise TypeError("stages without a name")
    return results


def load_stages(work_dir: Path) -> dict[str, Stage]:
    """Return the stages that a run trains, by name, in order."""
    return {stage.name: stage for _, stage in _numbered_stages(work_dir)}


def stage_dir(work_dir: Path, stage: str) -> Path:
    """Return the directory of a stage's best model, numbered as the network orders its stages.

    Raises:
        ValueError: for a stage that the run doesn't train.
    """
    numbers = {trained.name: number for number, trained in _numbered_stages(work_dir)}
    if stage not in numbers:
        raise ValueError(
            f"Invalid value for argument `stage`: expected one of {list(numbers)}, received "
            f"{stage!r}."
        )
    return work_dir / STAGES / f"{numbers[stage]}_{stage}"


def model_file(work_dir: Path, stage: str | None = None) -> Path:
    """Return the file of a run's model, or of the best model of one of its stages."""
    return (work_dir if stage is None else stage_dir(work_dir, stage)) / MODEL


def evaluation_file(work_dir: Path, split: str) -> Path:
    """Return the JSON file of a run's evaluation on a split."""
    return work_dir / f"evaluation_{split}.json"


def evaluation_files(work_dir: Path) -> dict[str, Path]:
    """Return the JSON files of a run's evaluations, by split."""
    files = sorted(work_dir.glob("evaluation_*.json"))
    return {file.stem.removeprefix("evaluation_"): file for file in files}


def _numbered_stages(work_dir: Path) -> list[tuple[int, Stage]]:
    """Return the stages that a run trains, each with its number among the network's."""
    values = load_config(work_dir)
    config = network_config(values.get("network"), work_dir / CONFIG)()
    with reading(work_dir / CONFIG, "a configuration"):
        return [
            (number, stage)
            for number, stage in enumerate(config.stages, start=1)
            if values.get(config.section(stage.name), {}).get("epochs")
        ]
