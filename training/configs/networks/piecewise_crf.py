"""Training of PiecewiseCRF: its potentials one after the other or together, then all as a field."""

from dataclasses import asdict, dataclass, field
from typing import ClassVar, Literal

import keras

from keras_dpn import models
from keras_dpn.models.piecewise_crf import graph_size

from ..schema import LossConfig, Stage, StageConfig, TrainConfig
from .deeplab import CRFConfig

Relation = Literal["surrounding", "above", "below", "left", "right"]
Box = tuple[float, float, float, float]
Objective = Literal["piecewise", "pseudo_likelihood", "mean_field"]

_PIECES, _JOINT = "pieces", "joint"


def _potential(name: str) -> Stage:
    return Stage(name, output=name, learns=f"{name}_.*", part_of=_PIECES)


@dataclass(frozen=True)
class PiecewiseCRFConfig:
    """The network: arguments of `keras_dpn.models.PiecewiseCRF`, which explains them."""

    scales: tuple[float, ...] = (1.2, 0.8, 0.4)
    relations: tuple[Relation, ...] | dict[Relation, Box] = ("surrounding", "above")
    """Names, or for boxes of one's own each with top, left, bottom, right."""
    unary: bool = True
    num_blocks: int = 5
    block6: tuple[tuple[int, int], ...] = ((7, 4096), (3, 512), (3, 512))
    units: int = 512
    num_neighbors: int | None = None
    seed: int = 0
    num_iterations: int = 2
    damping: float = 0.0
    crf: CRFConfig | None = None
    width: float = 1.0
    checkpointing: bool = False


@dataclass(frozen=True)
class PiecewiseTrainConfig(TrainConfig):
    """A whole run: the network, the data and the stages, of which `order` decides.

    Potentials share no weights, and the piecewise objective is a sum over them: one after the other
    they learn the same as together, in less memory at a time. The weights are the same after each
    epoch on one device, if `unary`, `pairwise` and `pieces` are the same, without `clip_norm`; but
    a stage ends with the best of its epochs, apart of each potential's own.
    """

    network: ClassVar = models.PiecewiseCRF
    stages: ClassVar = (
        _potential("unary"),
        _potential("surrounding"),
        _potential("above"),
        _potential("below"),
        _potential("left"),
        _potential("right"),
        Stage(_PIECES, output="field", learns=".*"),
        Stage(_JOINT, output="field", learns=".*"),
    )

    model: PiecewiseCRFConfig = field(default_factory=PiecewiseCRFConfig)
    order: Literal["apart", "together"] = "apart"
    """Whether each potential is a stage (unary, pairwise) or all are one (pieces)."""
    objective: Objective = "piecewise"
    """Of the stage pieces; apart it is always piecewise."""
    joint_objective: Objective = "mean_field"
    """Of the stage joint."""
    unary: StageConfig = field(default_factory=StageConfig)
    """Apart: the unary potential learns."""
    pairwise: StageConfig = field(default_factory=StageConfig)
    """Apart: the potential of one relation after the other learns, each in a stage of its name."""
    pieces: StageConfig = field(default_factory=StageConfig)
    """Together: all potentials learn."""
    joint: StageConfig = field(default_factory=StageConfig)
    """Afterwards: all potentials learn, through each other."""

    def stage(self, name: str) -> StageConfig:
        return super().stage(name) if name in self._used() else StageConfig()

    def section(self, name: str) -> str:
        return name if name in ("unary", _PIECES, _JOINT) else "pairwise"

    def learner(self, model: keras.Model, stage: Stage, ignore_label: int) -> keras.Model:
        if stage.name == _JOINT:
            return model.learner(objective=self.joint_objective, ignore_label=ignore_label)
        pieces = None if stage.name == _PIECES else (stage.name,)
        return model.learner(pieces, objective=self.objective, ignore_label=ignore_label)

    def forecast(self, num_classes: int) -> str:
        sizes = [self.stage(name).batch_size for name in self._used() if self.stage(name).epochs]
        batch_size = max(size or self.data.batch_size for size in sizes)
        crop, model = self.data.augmentation.crop, asdict(self.model)
        size = graph_size(crop, batch_size, num_classes=num_classes, **model)
        return f"{size}{' if all learn together' * (self.order == 'apart')}"

    def check(self) -> None:
        if self.order == "apart" and self.objective != "piecewise":
            raise ValueError(
                f"--objective {self.objective} needs all potentials at once: --order together."
            )
        super().check()
        for name in self._used():
            if self.stage(name).epochs and self.stage(name).loss != LossConfig():
                raise ValueError(
                    f"Stage {name} has an objective of its own; leave out "
                    f"--{self.section(name)}.loss."
                )

    def _used(self) -> tuple[str, ...]:
        """The stages that the model has and the order asks for."""
        potentials = (*("unary",) * self.model.unary, *self.model.relations)
        return (*(potentials if self.order == "apart" else (_PIECES,)), _JOINT)
