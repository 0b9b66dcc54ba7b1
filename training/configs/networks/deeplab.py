"""Training of DeepLab v1: its arguments and stages."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..crf import CRFConfig
from ..schema import Stage, StageConfig, TrainConfig


@dataclass(frozen=True)
class DeepLabConfig:
    """The network: arguments of `keras_dpn.models.DeepLab`, which explains them."""

    variant: Literal["7x7", "4x4", "4x4-largestride", "largefov"] = "largefov"
    """The kernel and dilation of fc6, Table 2 of the paper."""
    multiscale: bool = False
    """Add the scores of branches from the image and the first four pools (MSc)."""
    crf: CRFConfig | None = None
    """A fully connected CRF after the network."""
    width: float = 1.0
    """Factor on all numbers of channels."""
    dropout: float = 0.5
    """Dropout rate after fc6, fc7 and the layers of the branches."""
    global_context: bool = False
    """Classify the mean of fc7 over the image, too, and add the scores."""

    def summary(self) -> Iterator[str]:
        """Yield the network in a few words each."""
        yield f"{self.variant}, width {self.width}"
        if self.global_context:
            yield "global context"
        if self.multiscale:
            yield "multi-scale branches"
        if self.crf:
            yield self.crf.summary()


@dataclass(frozen=True)
class DeepLabTrainConfig(TrainConfig):
    """Training of DeepLab v1: the network, its multi-scale branches, and all with the CRF."""

    network: ClassVar[str] = "DeepLab"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("unary", head="unary", trainable=r"b([1-9]|10|11)(_.*)?|pool6_norm"),
        Stage("multiscale", head="multiscale", trainable="msc_.*"),
        Stage("joint", head="final", trainable=".*"),
    )

    model: DeepLabConfig = field(default_factory=DeepLabConfig)
    """The network."""
    unary: StageConfig = field(default_factory=StageConfig)
    """Stage 1: trains b1-b11, without the branches and the CRF."""
    multiscale: StageConfig = field(default_factory=StageConfig)
    """Stage 2: trains the multi-scale branches; the rest is frozen."""
    joint: StageConfig = field(default_factory=StageConfig)
    """Stage 3: trains all layers, and the CRF's trainable weights."""

    def check(self) -> None:
        if self.multiscale.is_trained and not self.model.multiscale:
            raise ValueError(
                "Stage multiscale needs --model.multiscale, received a network without branches; "
                "leave it out with --multiscale.epochs 0."
            )
        super().check()
