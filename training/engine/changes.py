"""Changes to the configuration of a resumed run: learning rates, schedules and epochs."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configs.schema import TrainConfig
from ..utils.counts import counted

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
        before: its previous value.
        after: its new value.
    """

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.field} changes from {self.before} to {self.after}"

    @property
    def option(self) -> str:
        """The field as an option of the command line."""
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
    """Return the changes in the configuration of a resumed run.

    The learning rate, its schedule and the epochs may change in stages that aren't finished, and
    the validation interval. A schedule continues at the step that the run has reached. A stage ends
    if its epochs are set to those completed; fewer are refused, as the configuration would not
    describe the training.

    Args:
        earlier: the previous configuration.
        config: the new configuration.
        stage: index of the current stage, in `config.stages`.
        epoch: completed epochs of that stage.
        source: file of the previous configuration, for messages.

    Raises:
        ValueError: names the fields that may not change, and those that change too late.
    """
    if type(earlier) is not type(config):
        raise ValueError(
            f"{source}: the run to resume was configured otherwise in: network, "
            f"{earlier.network}, not {config.network}."
        )
    changes = list(differences(earlier, config))
    _check_fields(changes, config, source)
    noted = []
    for change in changes:
        concerned = _concerned(change, earlier, config)
        if concerned and concerned[-1] < stage:
            name = config.stages[concerned[-1]].name
            raise ValueError(
                f"{source}: the run is past stage {name}; expected {change.option} unchanged, "
                f"{change.before}, received {change.after}. To continue from there, start another "
                "run with the stage's model as --weights."
            )
        if concerned:  # otherwise settings of a skipped stage
            noted.append(change)
    if epoch:
        _check_epochs(config, config.stages[stage].name, epoch, source)
    return noted


def _check_fields(changes: list[Change], config: TrainConfig, source: Path) -> None:
    sections = {config.section(item.name) for item in config.stages}
    accepted = {
        f"{section}.{name}" for section in sections for name in (*RATES, "epochs", "patience")
    }
    accepted.add(_VALIDATION)
    if fixed := [change.field for change in changes if change.field not in accepted]:
        raise ValueError(
            f"{source}: the run to resume was configured otherwise in: {', '.join(fixed)}. Give "
            "them unchanged, or start from the file itself; learning rates, schedules, epochs "
            f"and {_VALIDATION} may change."
        )


def _check_epochs(config: TrainConfig, name: str, done: int, source: Path) -> None:
    epochs = config.stage(name).epochs
    if epochs < done:
        raise ValueError(
            f"{source}: stage {name} has completed {counted(done, 'epoch')}; expected "
            f"--{config.section(name)}.epochs from {done} up, which ends the stage, received "
            f"{epochs}."
        )


def _concerned(change: Change, earlier: TrainConfig, config: TrainConfig) -> list[int]:
    """Return the indices of the stages with epochs that a change affects."""
    return [
        index
        for index, item in enumerate(config.stages)
        if change.field in (_VALIDATION, f"{config.section(item.name)}.{change.name}")
        and (config.stage(item.name).epochs or earlier.stage(item.name).epochs)
    ]


def differences(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Yield the fields in which two instances of a dataclass differ; "" for two classes."""
    if dataclasses.is_dataclass(before) and type(before) is type(after):
        for item in dataclasses.fields(before):
            name = f"{path}.{item.name}" if path else item.name
            yield from differences(getattr(before, item.name), getattr(after, item.name), name)
    elif before != after:
        yield Change(path, before, after)
