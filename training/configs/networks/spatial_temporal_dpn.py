"""Training of the spatial-temporal Deep Parsing Network: its arguments, stages and clips."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..datasets import ClipDatasetName
from ..schema import DataConfig
from .dpn import ContextsConfig, DPNConfig, DPNTrainConfig


@dataclass(frozen=True)
class ClipDataConfig(DataConfig):
    """Which clips a run sees and how they are varied."""

    dataset: ClipDatasetName = "clips"
    """The dataset, by the name of its reader."""
    flow_dir: str | None = None
    """Where computed optical flow is kept, also for other runs; WORK_DIR/flow if not given."""


@dataclass(frozen=True)
class SpatialTemporalDPNConfig(DPNConfig):
    """The network: arguments of `keras_dpn.models.SpatialTemporalDPN`, which explains them."""

    contexts: ContextsConfig = field(default_factory=lambda: ContextsConfig(window=7))
    """The label contexts (b13)."""
    frames: int = 3
    """Frames per clip, and of the windows of b12 and b13."""
    linking: Literal["flow", "static"] = "flow"
    """Neighbors in time lie along the optical flow, or at the same place."""
    link_threshold: float = 1.0
    """How far from itself a pixel may end on its way along the flow and back, in pixels."""
    frame_spacing: float = 10.0
    """How far apart successive frames count where b12 compares positions, in pixels of the grid."""

    def summary(self, frames: str = "") -> Iterator[str]:
        """Yield the network in a few words each."""
        yield from super().summary(frames or f"{self.frames}×")

    def _clips(self) -> Iterator[str]:
        links = {"flow": "linked along the optical flow", "static": "not linked by optical flow"}
        yield f"{self.frames} frames, {links[self.linking]}"


@dataclass(frozen=True)
class SpatialTemporalDPNTrainConfig(DPNTrainConfig):
    """Training of the spatial-temporal Deep Parsing Network, on clips, in the stages of `DPN`.

    It usually starts from a trained network for images, given as `weights`; its unary stage then
    has 0 epochs.
    """

    network: ClassVar[str] = "SpatialTemporalDPN"

    model: SpatialTemporalDPNConfig = field(default_factory=SpatialTemporalDPNConfig)
    """The network."""
    data: ClipDataConfig = field(default_factory=ClipDataConfig)
    """The dataset and its augmentation."""

    @property
    def clip_frames(self) -> int:
        return self.model.frames

    @property
    def needs_flow(self) -> bool:
        return self.model.linking == "flow"
