"""Training of the spatial-temporal Deep Parsing Network, on clips, in the stages of `DPN`."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from keras_dpn import models

from ...data.pipeline.clips import ClipInputs
from ..schema import DataConfig
from .dpn import DPNConfig, DPNTrainConfig


@dataclass(frozen=True)
class ClipDataConfig(DataConfig):
    """Where clips come from and how they are varied."""

    dataset: Literal["moving_scenes", "camvid", "clips"] = "clips"
    flow_dir: str | None = None
    """Where computed optical flow is kept, for other runs too; WORK_DIR/flow if not given."""


@dataclass(frozen=True)
class SpatialTemporalDPNConfig(DPNConfig):
    """The network: arguments of `keras_dpn.models.SpatialTemporalDPN`, which explains them."""

    frames: int = 3
    """Frames of a clip, and of the windows of b12 and b13."""
    linking: Literal["flow", "static"] = "flow"
    link_threshold: float = 1.0
    frame_spacing: float = 10.0
    context_window: int = 7


@dataclass(frozen=True)
class SpatialTemporalDPNTrainConfig(DPNTrainConfig):
    """A whole run: the network, the data and four stages.

    It is meant to begin with a trained network for pictures, given as `weights`; its unary stage
    then has 0 epochs.
    """

    network: ClassVar = models.SpatialTemporalDPN

    model: SpatialTemporalDPNConfig = field(default_factory=SpatialTemporalDPNConfig)
    data: ClipDataConfig = field(default_factory=ClipDataConfig)

    @property
    def clips(self) -> ClipInputs:
        return ClipInputs(self.model.frames, flow=self.model.linking == "flow")
