"""The built-in scenes: a small network, trained from nothing on a CPU in minutes."""

from ...data.pipeline.batches import Augmentation
from ..networks import DPNTrainConfig
from ..networks.dpn import DPNConfig
from ..schema import DataConfig, StageConfig

RECIPES = {
    "scenes": DPNTrainConfig(
        model=DPNConfig(
            width=0.125,
            trunk="large_fov",
            fc6_dilation=2,
            fc_width=512,
            triple_window=7,
            pairwise_stride=2,
            dropout=0.2,
        ),
        data=DataConfig(
            dataset="scenes", batch_size=8, augmentation=Augmentation(crop=(96, 128), mirror=True)
        ),
        unary=StageConfig(epochs=10, learning_rate=2e-3),
        triple=StageConfig(epochs=1, learning_rate=3e-2),
        contexts=StageConfig(epochs=3, learning_rate=3e-3),
        joint=StageConfig(epochs=3, learning_rate=5e-4),
    ),
}
