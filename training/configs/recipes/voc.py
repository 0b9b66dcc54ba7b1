"""The Deep Parsing Network on PASCAL VOC 2012, as in Table 1(b), and its pre-training on COCO.

    keras-dpn train dpn/voc --data-dir VOC --work-dir RUN --weights VGG16_FILE
    keras-dpn evaluate RUN --per-stage

with the 10582 training and 1449 validation images of VOC 2012 and SBD (training.data.sets.voc).
mIoU on the validation images, all numbers from the paper: unary term 62.4, with the triple penalty
    64.7,
label contexts 66.5, joint tuning 67.8. Two networks averaged, at several scales (which the paper
doesn't give), scored 74.1 on the test images, and 77.5 after pre-training on COCO:

    keras-dpn train dpn/coco --data-dir COCO --work-dir PRE --weights VGG16_FILE
    keras-dpn train dpn/voc --data-dir VOC --work-dir RUN2 --weights PRE/model.keras
    keras-dpn evaluate RUN RUN2 --scales 0.75 1 1.25 --horizontal-flip
    keras-dpn submit RUN RUN2 --out comp6.tgz --scales 0.75 1 1.25

The unary term is trained with the solver that its author published later: SGD at 1e-4, a tenth
after 6000 of 9000 steps of 10 images, in whole epochs 6 of 9; images at 0.8 to 1 times their size;
with --unary.loss.ohem-fraction 0.5 only on the harder half of the pixels. The paper doesn't give
the other stages' settings; here they are those of dpn/camvid. A training step takes about 3.4 TFLOP
per image, 6e17 in all: an estimated 6 hours of a GPU at 30 TFLOP per second.
"""

from dataclasses import replace

from ..networks import BackboneConfig, DPNConfig, DPNTrainConfig
from ..schema import Augmentation, StageConfig
from ._base import CAMVID_DPN, VGG16, VOC_DATA, Recipe

_VOC = DPNTrainConfig(
    model=DPNConfig(backbone=BackboneConfig(name="vgg16")),
    data=replace(
        VOC_DATA, batch_size=10, augmentation=Augmentation(crop=(512, 512), scale=(0.8, 1.0))
    ),
    unary=StageConfig(
        epochs=9,
        learning_rate=1e-4,
        schedule="step",
        step_epochs=6,
        optimizer="sgd",
        momentum=0.9,
        weight_decay=5e-4,
    ),
    triple=CAMVID_DPN.triple,
    contexts=CAMVID_DPN.contexts,
    joint=CAMVID_DPN.joint,
)
_COCO = DPNTrainConfig(
    model=_VOC.model,
    data=replace(_VOC.data, dataset="coco", train_split="train"),
    unary=_VOC.unary,
)

RECIPES = {
    "dpn/voc": Recipe(
        _VOC,
        "DPN in four stages, Table 1(b)",
        cost="about 6 hours of a GPU",
        paper_miou=67.8,
        weights=VGG16,
    ),
    "dpn/coco": Recipe(
        _COCO, "DPN's unary term, to start dpn/voc from", cost="days of a GPU", weights=VGG16
    ),
}
