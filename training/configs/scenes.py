"""The built-in scenes."""

from training.configs.base import DataConfig, LossConfig, ModelConfig, StageConfig, TrainConfig
from training.data.pipeline import Augmentation

RECIPES = {
    "scenes": TrainConfig(
        model=ModelConfig(width=0.125, trunk="large_fov", fc6_dilation=2),
        data=DataConfig(
            dataset="scenes", batch_size=8, augmentation=Augmentation(crop=(96, 128), mirror=True)
        ),
        unary=StageConfig(epochs=8, learning_rate=1e-3),
        triple=StageConfig(epochs=1, learning_rate=1e-2),
        contexts=StageConfig(epochs=2, learning_rate=1e-3),
        joint=StageConfig(epochs=2, learning_rate=3e-4, loss=LossConfig(unary=0.3)),
    ),
}
