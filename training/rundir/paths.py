"""The work directory of a run: what lies where, written so that nothing is ever half there."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import keras_dpn  # noqa: F401  registers the classes that saved models name
from keras_dpn.classes import Classes

from ..configs.networks import network_config
from ..configs.schema import Stage, TrainConfig

CONFIG = "config.json"
CLASSES = "classes.json"
RESULTS = "results.json"
HISTORY = "history.json"
MODEL = "model.keras"
CHECKPOINTS = "checkpoints"
FLOW = "flow"


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then rename it: a failure leaves `path` as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, values: Any) -> None:
    """Write JSON atomically."""
    text = json.dumps(values, indent=2) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text))


def read_json(path: Path) -> Any:
    """Read JSON; a ValueError names a file that isn't."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: expected JSON, found {error}.") from None


def load_stages(work_dir: Path) -> dict[str, Stage]:
    """The stages that a run trains, by name, in order."""
    values = load_config(work_dir)
    config = _network_config(work_dir)()
    sections = {stage.name: values.get(config.section(stage.name), {}) for stage in config.stages}
    return {s.name: s for s in config.stages if sections[s.name].get("epochs")}


def stage_dir(work_dir: Path, stage: str) -> Path:
    """Where the best model of one of a run's stages lies, numbered as the network has them."""
    trained = list(load_stages(work_dir))
    if stage not in trained:
        raise ValueError(
            f"Invalid value for argument `stage`: expected one of {trained}, received {stage!r}."
        )
    names = [other.name for other in _network_config(work_dir).stages]
    return work_dir / "stages" / f"{names.index(stage) + 1}_{stage}"


def _network_config(work_dir: Path) -> type[TrainConfig]:
    network = load_config(work_dir).get("network", "DPN")  # version 1 knew no other
    return network_config(network, work_dir / CONFIG)


def load_model(work_dir: Path, stage: str | None = None) -> keras.Model:
    """The trained model of a run, or the best model of one of its stages."""
    path = (work_dir if stage is None else stage_dir(work_dir, stage)) / MODEL
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the model of a finished training run.")
    return keras.saving.load_model(path, compile=False)


def load_config(work_dir: Path) -> dict[str, Any]:
    """The configuration of a run, as JSON values."""
    return read_json(work_dir / CONFIG)


def load_classes(work_dir: Path) -> Classes:
    """Names, colours and ignore label of the classes that a run was trained on."""
    return Classes.from_json(read_json(work_dir / CLASSES))
