"""What can be set about the training of each network: one class a network."""

from training.configs.base import TrainConfig
from training.configs.networks.deeplab import DeepLabTrainConfig
from training.configs.networks.dpn import DPNTrainConfig

NETWORKS: dict[str, type[TrainConfig]] = {
    config.network.__name__: config for config in (DPNTrainConfig, DeepLabTrainConfig)
}

__all__ = ["NETWORKS", "DPNTrainConfig", "DeepLabTrainConfig"]
