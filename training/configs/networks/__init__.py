"""What can be set about the training of each network: one class a network."""

from pathlib import Path

from ..schema import TrainConfig
from .deeplab import DeepLabTrainConfig
from .dpn import DPNTrainConfig
from .fcn import FCNTrainConfig
from .parsenet import ParseNetTrainConfig
from .piecewise_crf import PiecewiseTrainConfig
from .spatial_temporal_dpn import SpatialTemporalDPNTrainConfig

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
