"""The Deep Parsing Network on PASCAL VOC 2012, as in Table 1(b), and its pre-training on COCO.

    python -m training.train dpn_voc --data-dir VOC --work-dir RUN --weights VGG16_FILE
    python -m training.evaluate --work-dir RUN --each-stage

with the 10582 training and 1449 validation pictures of VOC 2012 and SBD (training.data.voc). mIoU
on the validation pictures, all numbers paper: unary term 62.4, with the triple penalty 64.7, label
contexts 66.5, joint tuning 67.8. Two networks averaged, at several scales (which is not written),
scored 74.1 on the test pictures, and 77.5 after pre-training on COCO:

    python -m training.train dpn_coco --data-dir COCO --work-dir PRE --weights VGG16_FILE
    python -m training.train dpn_voc --data-dir VOC --work-dir RUN2 --weights PRE/model.keras
    python -m training.evaluate --work-dir RUN --work-dir RUN2 --scales 0.75 1 1.25 --mirror
    python -m training.submit --work-dir RUN --work-dir RUN2 --out comp6.tgz --scales 0.75 1 1.25

The unary term learns by the solver that its author published later: SGD at 1e-4, a tenth after 6000
of 9000 steps of 10 pictures, in whole epochs 6 of 9; pictures at 0.8 to 1 times their size; with
--unary.loss.hard-ratio 0.5 only from the harder half of the pixels. The other stages' settings are
not written; here they are those of the camvid recipe. For training a picture takes about 3.4 TFLOP
in a step, 6e17 in all: an estimated 6 hours of a GPU that does 30 TFLOP a second.
"""

from dataclasses import replace

from ...data.pipeline.batches import Augmentation
from ..networks import DPNTrainConfig
from ..networks.dpn import DPNConfig
from ..schema import DataConfig, StageConfig
from .camvid import RECIPES as _CAMVID

_VOC = DPNTrainConfig(
    model=DPNConfig(trunk="vgg16"),
    data=DataConfig(
        dataset="voc",
        train_split="trainaug",
        batch_size=10,
        augmentation=Augmentation(crop=(512, 512), scale=(0.8, 1.0)),
        cache=False,
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
    triple=_CAMVID["camvid"].triple,
    contexts=_CAMVID["camvid"].contexts,
    joint=_CAMVID["camvid"].joint,
)

RECIPES = {
    "dpn_voc": _VOC,
    "dpn_coco": DPNTrainConfig(
        model=_VOC.model,
        data=replace(_VOC.data, dataset="coco", train_split="train"),
        unary=_VOC.unary,
    ),
}
