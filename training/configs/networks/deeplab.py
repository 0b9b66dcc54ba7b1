"""Training of DeepLab v1: the network, its multi-scale branches, and all with the CRF."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from keras_dpn import models

from ..schema import Stage, StageConfig, TrainConfig


@dataclass(frozen=True)
class CRFConfig:
    """The CRF: arguments of `keras_dpn.layers.MeanFieldCRF`, which explains them."""

    num_iterations: int = 10
    bilateral: tuple[float, float, float] | None = (4.0, 121.0, 5.0)
    """Weight, standard deviations in pixels and in steps of 0-255."""
    spatial: tuple[float, float] | None = (3.0, 3.0)
    """Weight, standard deviation in pixels."""
    compatibility: Literal["potts", "matrix", "matrix_per_kernel"] = "potts"
    filter: Literal["permutohedral", "window", "exact"] = "permutohedral"
    normalization: Literal["symmetric", "row", "none"] = "symmetric"
    trainable_weights_of: tuple[Literal["weights", "compatibility", "bandwidths"], ...] = ()
    inference_iterations: int | None = None
    window: int | None = None
    min_probability: float = 0.0


@dataclass(frozen=True)
class DeepLabConfig:
    """The network: arguments of `keras_dpn.models.DeepLab`, which explains them."""

    variant: Literal["7x7", "4x4", "4x4-largestride", "largefov"] = "largefov"
    multiscale: bool = False
    crf: CRFConfig | None = None
    width: float = 1.0
    dropout: float = 0.5
    global_context: bool = False


@dataclass(frozen=True)
class DeepLabTrainConfig(TrainConfig):
    """A whole run: the network, the data and three stages."""

    network: ClassVar = models.DeepLab
    stages: ClassVar = (
        Stage("unary", output="unary", learns=r"b([1-9]|10|11)(_.*)?|pool6_norm"),
        Stage("multiscale", output="multiscale", learns="msc_.*"),
        Stage("joint", output="final", learns=".*"),
    )

    model: DeepLabConfig = field(default_factory=DeepLabConfig)
    unary: StageConfig = field(default_factory=StageConfig)
    """Stage 1: b1-b11 learn, without the branches and the CRF."""
    multiscale: StageConfig = field(default_factory=StageConfig)
    """Stage 2: the multi-scale branches learn, the rest is frozen."""
    joint: StageConfig = field(default_factory=StageConfig)
    """Stage 3: all learn, what is to be learnt of the CRF as well."""

    def coarse_stride(self, output: str) -> int | None:
        return None if output == "final" and self.model.crf else 8

    def check(self) -> None:
        if self.multiscale.epochs and not self.model.multiscale:
            raise ValueError(
                "Stage multiscale needs --model.multiscale, received a network without branches; "
                "leave it out with --multiscale.epochs 0."
            )
        super().check()
