"""Training of PiecewiseCRF: its arguments, objectives and stages."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..crf import CRFConfig
from ..schema import LossConfig, Stage, StageConfig, TrainConfig

Relation = Literal["surrounding", "above", "below", "left", "right"]
Box = tuple[float, float, float, float]
Objective = Literal["piecewise", "pseudo_likelihood", "mean_field"]

TOGETHER, JOINT = "pieces", "joint"
"""Names of PiecewiseCRF's stages that train all potentials."""


@dataclass(frozen=True)
class PiecewiseCRFConfig:
    """The network: arguments of `keras_dpn.models.PiecewiseCRF`, which explains them."""

    scales: tuple[float, ...] = (1.2, 0.8, 0.4)
    """Scales of the image that each potential sees."""
    relations: tuple[Relation, ...] | dict[Relation, Box] = ("surrounding", "above")
    """Pairwise potentials: names; for other boxes each with top, left, bottom, right."""
    unary: bool = True
    """Have a unary potential."""
    num_blocks: int = 5
    """Blocks of VGG16, 1 to 5."""
    block6: tuple[tuple[int, int], ...] = ((7, 4096), (3, 512), (3, 512))
    """Kernel and channels of each convolution of the sixth block."""
    units: int = 512
    """Units of the first fully connected layer."""
    num_neighbors: int | None = None
    """Neighbours of each node that are sampled in each training step; all by default."""
    seed: int = 0
    """Seed of the sampling."""
    num_iterations: int = 2
    """Mean-field updates of the prediction."""
    damping: float = 0.0
    """Fraction of its old logits that a node keeps in an update."""
    crf: CRFConfig | None = None
    """A fully connected CRF after the field."""
    width: float = 1.0
    """Factor on all numbers of channels and units."""
    checkpointing: bool = False
    """Recompute VGG16's blocks for the gradients: less memory, more time, the same result."""
    aggregation: Literal["sum", "mean"] = "sum"
    """Prediction: mean field, which sums the messages of all edges, or the mean of the unary
    marginals and of those at the edges, without iterations."""

    def summary(self) -> Iterator[str]:
        """Yield the network in a few words each."""
        potentials = ["unary"] * self.unary + [f"“{name}”" for name in self.relations]
        yield f"{' + '.join(potentials)}, width {self.width}"
        yield f"scales {', '.join(f'{scale:g}' for scale in self.scales)}"
        if self.relations and self.aggregation == "mean":
            yield "mean of the edges' marginals"
        elif self.relations:
            yield f"mean field, {self.num_iterations} iterations"
        if self.crf:
            yield self.crf.summary()


def _potential(name: str) -> Stage:
    return Stage(name, head=name, trainable=f"{name}_.*", group=TOGETHER)


@dataclass(frozen=True)
class PiecewiseTrainConfig(TrainConfig):
    """Training of PiecewiseCRF: its potentials one by one or together, then all as a field.

    Potentials share no weights, and the piecewise objective is a sum over them: training them one
    after the other is equivalent to training them together, and takes less memory. The weights are
    the same after each epoch on one device, if `unary`, `pairwise` and `pieces` are equal and
    without `clip_norm`; but a stage ends with its best epoch, which differs between potentials.
    """

    network: ClassVar[str] = "PiecewiseCRF"
    stages: ClassVar[tuple[Stage, ...]] = (
        _potential("unary"),
        _potential("surrounding"),
        _potential("above"),
        _potential("below"),
        _potential("left"),
        _potential("right"),
        Stage(TOGETHER, head="field", trainable=".*"),
        Stage(JOINT, head="field", trainable=".*"),
    )

    model: PiecewiseCRFConfig = field(default_factory=PiecewiseCRFConfig)
    """The network."""
    order: Literal["apart", "together"] = "apart"
    """Train each potential in its own stage (unary, pairwise), or all in one (pieces)."""
    objective: Objective = "piecewise"
    """Objective of the stage pieces; apart it is always piecewise."""
    joint_objective: Objective = "mean_field"
    """Objective of the stage joint."""
    warm_start: bool = False
    """Apart: start each pairwise potential's features from those of the trained unary potential."""
    unary: StageConfig = field(default_factory=StageConfig)
    """Apart: trains the unary potential."""
    pairwise: StageConfig = field(default_factory=StageConfig)
    """Apart: trains one relation's potential after the other, each in a stage of its name."""
    pieces: StageConfig = field(default_factory=StageConfig)
    """Together: trains all potentials."""
    joint: StageConfig = field(default_factory=StageConfig)
    """Afterwards: trains all potentials, through each other."""

    def stage(self, name: str) -> StageConfig:
        return super().stage(name) if name in self.used_stages else StageConfig()

    def section(self, name: str) -> str:
        return name if name in ("unary", TOGETHER, JOINT) else "pairwise"

    @property
    def used_stages(self) -> tuple[str, ...]:
        """Return the stages of the model's potentials in the configured order."""
        potentials = (*("unary",) * self.model.unary, *self.model.relations)
        return (*(potentials if self.order == "apart" else (TOGETHER,)), JOINT)

    def check(self) -> None:
        if self.order == "apart" and self.objective != "piecewise":
            raise ValueError(
                f"--objective {self.objective} needs all potentials at once: --order together."
            )
        is_unary_trained = self.model.unary and (self.unary.is_trained or self.weights)
        if self.warm_start and not (self.order == "apart" and is_unary_trained):
            raise ValueError(
                "--warm-start needs a unary potential that is trained first: --order apart, "
                "--model.unary, and --unary.epochs or --weights."
            )
        super().check()
        for name in self.used_stages:
            if self.stage(name).is_trained and self.stage(name).loss != LossConfig():
                raise ValueError(
                    f"Stage {name} has its own objective; leave out --{self.section(name)}.loss."
                )
