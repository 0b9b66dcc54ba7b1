"""CamVid, 11 classes, 360x480: the paper's network with DeepLab's LargeFOV trunk."""

from training.configs.base import DataConfig, LossConfig, ModelConfig, StageConfig, TrainConfig
from training.data.pipeline import Augmentation

_MODEL = ModelConfig(trunk="large_fov", pairwise_stride=4)
_DATA = DataConfig(
    dataset="camvid",
    batch_size=4,
    augmentation=Augmentation(
        crop=(304, 400),
        scale=(0.7, 1.4),
        brightness=0.06,
        contrast=0.2,
        saturation=0.2,
    ),
)
_WEIGHTED = LossConfig(class_weight_power=0.5, class_weight_cap=4.0)

RECIPES = {
    "camvid": TrainConfig(
        model=_MODEL,
        data=_DATA,
        unary=StageConfig(
            epochs=22,
            learning_rate=1.5e-4,
            layer_rates={"b9|b10|b11": 3.0},
            loss=_WEIGHTED,
        ),
        precision="mixed_bfloat16",
        validation_epochs=2,
    ),
}
