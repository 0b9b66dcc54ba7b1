"""What can be set about the training of each network: one class a network."""

from pathlib import Path

from training.configs.base import TrainConfig
from training.configs.networks.deeplab import DeepLabTrainConfig
from training.configs.networks.dpn import DPNTrainConfig
from training.configs.networks.fcn import FCNTrainConfig
from training.configs.networks.parsenet import ParseNetTrainConfig
from training.configs.networks.piecewise_crf import PiecewiseTrainConfig
from training.configs.networks.spatial_temporal_dpn import SpatialTemporalDPNTrainConfig

NETWORKS: dict[str, type[TrainConfig]] = {
    config.network.__name__: config
    for config in (
        DPNTrainConfig,
        SpatialTemporalDPNTrainConfig,
        DeepLabTrainConfig,
        ParseNetTrainConfig,
        FCNTrainConfig,
        PiecewiseTrainConfig,
    )
}


def network_config(name: object, source: str | Path) -> type[TrainConfig]:
    """The configuration class of the network that a file names; ValueError if there is none."""
    if name not in NETWORKS:
        raise ValueError(
            f"{source}: network: expected one of {sorted(NETWORKS)}, received {name!r}."
        )
    return NETWORKS[name]


__all__ = [
    "NETWORKS",
    "DPNTrainConfig",
    "DeepLabTrainConfig",
    "FCNTrainConfig",
    "ParseNetTrainConfig",
    "PiecewiseTrainConfig",
    "SpatialTemporalDPNTrainConfig",
    "network_config",
]
