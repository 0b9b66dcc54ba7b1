"""What a resumed run may change: learning rates, schedules and epochs."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configs.schema import TrainConfig

RATES = (
    "learning_rate",
    "layer_rates",
    "schedule",
    "power",
    "step_epochs",
    "decay",
    "warmup_steps",
)
_VALIDATION = "validation_epochs"


@dataclass(frozen=True)
class Change:
    """A field of a run's configuration that has another value than before.

    Args:
        field: its dotted name, such as "joint.learning_rate".
        before: its value up to now.
        after: its value from now on.
    """

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.field} changes from {self.before} to {self.after}"

    @property
    def option(self) -> str:
        """The field as the command line names it."""
        return f"--{self.field.replace('_', '-')}"

    @property
    def name(self) -> str:
        """The last part of the field's name."""
        return self.field.rpartition(".")[2]

    def sets_rate_of(self, section: str) -> bool:
        """Whether it changes the learning rate of a stage with these settings."""
        return self.field in [f"{section}.{name}" for name in RATES]

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "from": self.before, "to": self.after}


def find_changes(
    earlier: TrainConfig, config: TrainConfig, *, stage: int, epoch: int, source: Path
) -> list[Change]:
    """Return what changes in the configuration of a run that goes on.

    Accepted are the learning rate, its schedule and the epochs of stages that are still to be
    trained or in training, and how often is validated. A schedule goes on at the step that the run
    has reached. As many epochs as a stage has done end it there; fewer would leave a configuration
    that says other than what was trained, and are refused.

    Args:
        earlier: the configuration up to now.
        config: the one to go on with.
        stage: index of the stage that the run has reached, in `config.stages`.
        epoch: completed epochs of that stage.
        source: file of the configuration up to now, for messages.

    Raises:
        ValueError: names the fields that may not change, and those that change too late.
    """
    if type(earlier) is not type(config):
        raise ValueError(
            f"{source}: the run to resume was configured otherwise in: network, "
            f"{earlier.network}, not {config.network}."
        )
    changes = list(_differences(earlier, config))
    _check_fields(changes, config, source)
    noted = []
    for change in changes:
        concerned = _concerned(change, earlier, config)
        if concerned and concerned[-1] < stage:
            name = config.stages[concerned[-1]].name
            raise ValueError(
                f"{source}: the run is past stage {name}; expected {change.option} as it was, "
                f"{change.before}, received {change.after}. To train on from there, start another "
                "run with the stage's model as --weights."
            )
        if concerned:  # else the settings of a stage that is left out
            noted.append(change)
    if epoch:
        _check_epochs(config, config.stages[stage].name, epoch, source)
    return noted


def _check_fields(changes: list[Change], config: TrainConfig, source: Path) -> None:
    sections = {config.section(item.name) for item in config.stages}
    accepted = {f"{section}.{name}" for section in sections for name in (*RATES, "epochs")}
    accepted.add(_VALIDATION)
    if fixed := [change.field for change in changes if change.field not in accepted]:
        raise ValueError(
            f"{source}: the run to resume was configured otherwise in: {', '.join(fixed)}. Give "
            "these as they were, or start from the file itself; learning rates, schedules, epochs "
            f"and {_VALIDATION} may change."
        )


def _check_epochs(config: TrainConfig, name: str, done: int, source: Path) -> None:
    epochs = config.stage(name).epochs
    if epochs < done:
        raise ValueError(
            f"{source}: stage {name} has completed {done} epochs; expected "
            f"--{config.section(name)}.epochs from {done} up, which ends the stage, received "
            f"{epochs}."
        )


def _concerned(change: Change, earlier: TrainConfig, config: TrainConfig) -> list[int]:
    """Indices of the stages with epochs that a change has to do with."""
    return [
        index
        for index, item in enumerate(config.stages)
        if change.field in (_VALIDATION, f"{config.section(item.name)}.{change.name}")
        and (config.stage(item.name).epochs or earlier.stage(item.name).epochs)
    ]


def _differences(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """The fields of two values in which they differ, where both are of one dataclass."""
    if dataclasses.is_dataclass(before) and type(before) is type(after):
        for item in dataclasses.fields(before):
            name = f"{path}.{item.name}" if path else item.name
            yield from _differences(getattr(before, item.name), getattr(after, item.name), name)
    elif before != after:
        yield Change(path, before, after)
