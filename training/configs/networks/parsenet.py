"""Training of ParseNet: its arguments and its only stage."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..schema import Stage, StageConfig, TrainConfig


def normalization(normalize: bool, init_scale: float) -> str:
    """Return the normalization for a summary."""
    return f"normalised to {init_scale:g}" if normalize else "not normalised"


@dataclass(frozen=True)
class ParseNetConfig:
    """The network: arguments of `keras_dpn.models.ParseNet`, which explains them."""

    fusion: Literal["late", "early"] | None = "late"
    """Fusion of the mean over the image with the local features; none: fc7 only."""
    normalize: bool = True
    """Scale fc7 and its mean to a learned length before the fusion."""
    init_scale: float = 10.0
    """Initial value of that length."""
    grid: tuple[int, ...] = (1,)
    """Context over the whole image (1), or over each of NxN regions, of several N at once."""
    combine: Literal["concatenate", "conv"] = "concatenate"
    """With early fusion: concatenate both, or pass both through a 1x1 convolution."""
    width: float = 1.0
    """Factor on the backbone's numbers of channels."""
    dropout: float = 0.5
    """Dropout rate after fc6 and fc7."""

    def summary(self) -> Iterator[str]:
        """Yield the network in a few words each."""
        yield f"width {self.width}"
        if self.fusion:
            grids = " and ".join(f"{n}×{n}" for n in self.grid)
            yield f"{self.fusion} fusion of context, {grids}"
        if self.combine == "conv":
            yield "fused by a 1×1 convolution"
        yield normalization(self.normalize, self.init_scale)


@dataclass(frozen=True)
class ParseNetTrainConfig(TrainConfig):
    """Training of ParseNet: all layers at once."""

    network: ClassVar[str] = "ParseNet"
    stages: ClassVar[tuple[Stage, ...]] = (Stage("final", head="final", trainable=".*"),)

    model: ParseNetConfig = field(default_factory=ParseNetConfig)
    """The network."""
    final: StageConfig = field(default_factory=StageConfig)
    """The only stage: trains all layers."""
