"""The networks' arguments and stages of training, as plain data: a file for each network.

The fields of a network's class are the arguments of the class of that name in `keras_dpn.models`,
which explains them in detail.
"""

from pathlib import Path

from ..schema import TrainConfig
from .deeplab import DeepLabConfig, DeepLabTrainConfig
from .dpn import BackboneConfig, ContextsConfig, DPNConfig, DPNTrainConfig, LocalConvConfig
from .fcn import FCNConfig, FCNTrainConfig
from .parsenet import ParseNetConfig, ParseNetTrainConfig
from .piecewise_crf import JOINT, TOGETHER, PiecewiseCRFConfig, PiecewiseTrainConfig
from .spatial_temporal_dpn import (
    ClipDataConfig,
    SpatialTemporalDPNConfig,
    SpatialTemporalDPNTrainConfig,
)

__all__ = [
    "JOINT",
    "NETWORKS",
    "TOGETHER",
    "BackboneConfig",
    "ClipDataConfig",
    "ContextsConfig",
    "DPNConfig",
    "DPNTrainConfig",
    "DeepLabConfig",
    "DeepLabTrainConfig",
    "FCNConfig",
    "FCNTrainConfig",
    "LocalConvConfig",
    "ParseNetConfig",
    "ParseNetTrainConfig",
    "PiecewiseCRFConfig",
    "PiecewiseTrainConfig",
    "SpatialTemporalDPNConfig",
    "SpatialTemporalDPNTrainConfig",
    "network_config",
]

NETWORKS: dict[str, type[TrainConfig]] = {
    config.network: config
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
    """Return the configuration class of the network that a file names.

    Raises:
        ValueError: names the file, if there is no such network.
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(
            f"{source}: network: expected one of {sorted(NETWORKS)}, received {name!r}."
        )
    return NETWORKS[name]
