"""Training of ParseNet: everything at once."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from keras_dpn import models

from ..schema import Stage, StageConfig, TrainConfig


@dataclass(frozen=True)
class ParseNetConfig:
    """The network: arguments of `keras_dpn.models.ParseNet`, which explains them."""

    fusion: Literal["late", "early"] | None = "late"
    normalize: bool = True
    init_scale: float = 10.0
    grid: tuple[int, ...] = (1,)
    combine: Literal["concatenate", "conv"] = "concatenate"
    width: float = 1.0
    dropout: float = 0.5


@dataclass(frozen=True)
class ParseNetTrainConfig(TrainConfig):
    """A whole run: the network, the data and one stage."""

    network: ClassVar = models.ParseNet
    stages: ClassVar = (Stage("final", output="final", learns=".*"),)

    model: ParseNetConfig = field(default_factory=ParseNetConfig)
    final: StageConfig = field(default_factory=StageConfig)
    """The only stage: all learn."""
