"""Training of the spatial-temporal Deep Parsing Network: its arguments, stages and clips."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..datasets import ClipDatasetName
from ..schema import DataConfig
from .dpn import ContextsConfig, DPNConfig, DPNTrainConfig


@dataclass(frozen=True)
class ClipDataConfig(DataConfig):
    """The clips of a run and their augmentation."""

    dataset: ClipDatasetName = "clips"
    """The dataset, by the name of its reader."""
    flow_dir: str | None = None
    """Cache of computed optical flow, also for other runs; WORK_DIR/flow by default."""


@dataclass(frozen=True)
class SpatialTemporalDPNConfig(DPNConfig):
    """The network: arguments of `keras_dpn.models.SpatialTemporalDPN`, which explains them."""

    contexts: ContextsConfig = field(default_factory=lambda: ContextsConfig(window=7))
    """The label contexts (b13)."""
    frames: int = 3
    """Frames per clip, and of the windows of b12 and b13."""
    linking: Literal["flow", "static"] = "flow"
    """Link neighbours in time along the optical flow, or at the same position."""
    link_threshold: float = 1.0
    """Largest forward-backward error of the flow at which a link counts, in pixels."""
    frame_spacing: float = 10.0
    """Distance of successive frames in b12's comparison of positions, in pixels of the grid."""

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
