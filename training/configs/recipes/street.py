"""Street images, CamVid's 11 classes: DPN with skip connections, its unary term at stride 2.

    keras-dpn train dpn/camvid/street --data-dir CAMVID --work-dir RUN \
        --weights hed_bsds500.weights.h5

Time and scores: docs/RESULTS.md. All layers are trained at once, first at a constant rate and with
class weights, which thin and rare objects need to be predicted at all, then without them at a
decreasing rate. The moving average of the weights is validated and saved.
"""

from dataclasses import replace

from ..networks import BackboneConfig, DPNConfig, DPNTrainConfig, LocalConvConfig
from ..schema import Augmentation, DataConfig, LossConfig, StageConfig
from ._base import HED, HOURS, Recipe

_STAGE = StageConfig(
    learning_rate=1e-4,
    layer_rates={"b(9|10|11|12|13)(_.*)?": 4.0},  # layers without pretrained weights
    clip_norm=1.0,
    ema_momentum=0.995,
    freeze="b[13]_conv.",  # the first two blocks are frozen
    loss=LossConfig(unary=0.5),
)
STREET = DPNTrainConfig(
    model=DPNConfig(
        backbone=BackboneConfig(
            name="large_fov", output_stride=16, skips=("conv4", "conv3", "conv2")
        ),
        local_conv=LocalConvConfig(window=25),
        pairwise_stride=2,
    ),
    data=DataConfig(
        dataset="camvid",
        batch_size=2,
        augmentation=Augmentation(
            crop=(320, 320),
            scale=(0.7, 1.6),
            brightness=0.1,
            contrast=0.3,
            saturation=0.3,
        ),
    ),
    joint=replace(
        _STAGE,
        epochs=24,
        schedule="constant",
        warmup_steps=100,
        loss=replace(_STAGE.loss, class_weight_power=0.5, class_weight_cap=4.0),
    ),
    finish=replace(_STAGE, epochs=12, schedule="cosine"),
    validation_epochs=3,
)

RECIPES = {
    "dpn/camvid/street": Recipe(
        STREET,
        "DPN with skip connections, all layers at once",
        cost=HOURS,  # its score at full length was not measured; dpn_camvid is of shorter runs
        weights=HED,
    )
}
