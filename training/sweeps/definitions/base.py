"""The definition of a sweep: configurations to compare, as one table."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from ...configs.crf import check_crf
from ...configs.recipes import RECIPES
from ...configs.schema import TrainConfig

Config = TypeVar("Config", bound=TrainConfig)


def recipe_of(name: str, config_class: type[Config]) -> Config:
    """Return a recipe's configuration, checked to be of the given class."""
    config = RECIPES[name]
    if not isinstance(config, config_class):
        raise TypeError(f"Recipe {name}: expected a {config_class.__name__}, received {config!r}.")
    return config


@dataclass(frozen=True)
class Row:
    """A row of the table: a trained network, or the network after one of its stages.

    Args:
        name: letters, digits and underscores; also the name of the run's directory.
        config: configuration of the training.
        stage: score the best network of this stage, at the stage's head; by default that of the
            last stage, at the network's output.
        output: score the last network at this one of its heads instead (`has_head`).
        crf: score the predictions refined by a fully connected CRF with these settings, see
            `keras_dpn.crf.refine`.
        start: an earlier row, whose network initialises this one, as with `--weights`.
        title: title in the table; the name by default.
        paper: the mIoU in the paper, in %.
    """

    name: str
    config: TrainConfig
    stage: str | None = None
    output: str | None = None
    crf: dict[str, Any] | None = None
    start: str | None = None
    title: str | None = None
    paper: float | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that are trained, in order."""
        stages = (stage.name for stage in self.config.stages)
        return tuple(name for name in stages if self.config.stage(name).is_trained)

    @property
    def last(self) -> str:
        """The last stage that the row depends on."""
        return self.stage or self.stages[-1]


@dataclass(frozen=True)
class Sweep:
    """Configurations to train and compare. Stages that several rows share are trained once.

    Args:
        title: title of the table.
        rows: its rows.
        reference: name of the row with which the others are compared.
        consistency: score the temporal consistency of all rows, not only of networks for clips; the
            dataset must then be one of clips.

    Raises:
        ValueError: for an invalid or repeated name, an unknown start or reference, and a stage that
            is not trained.
    """

    title: str
    rows: tuple[Row, ...]
    reference: str
    consistency: bool = False

    def __post_init__(self) -> None:
        names: list[str] = []
        for row in self.rows:
            if not re.fullmatch(r"\w+", row.name) or row.name in names:
                raise ValueError(
                    "`rows`: expected names of letters, digits and underscores, each once, "
                    f"received {row.name!r}."
                )
            if row.start is not None and row.start not in names:
                raise ValueError(
                    f"Row {row.name}: `start`: expected one of the rows before it, {names}, "
                    f"received {row.start!r}."
                )
            if not row.stages or row.last not in row.stages:
                raise ValueError(
                    f"Row {row.name}: `stage`: expected one that has epochs, {row.stages}, "
                    f"received {row.stage!r}."
                )
            if row.stage and row.output:
                raise ValueError(f"Row {row.name}: expected `stage` or `output`, received both.")
            if row.crf is not None:
                try:
                    check_crf(row.crf)
                except ValueError as error:
                    raise ValueError(f"Row {row.name}: `crf`: {error}") from None
            names.append(row.name)
        if self.reference not in names:
            raise ValueError(f"`reference`: expected one of {names}, received {self.reference!r}.")

    def __getitem__(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)
