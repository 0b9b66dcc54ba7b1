"""ParseNet on PASCAL VOC 2012: the rows of the paper's Table 6; and one recipe for CamVid.

    keras-dpn train parsenet/voc/late-norm --data-dir VOC --work-dir RUN --weights VGG16_FILE

with the 10582 training and 1449 validation images of VOC 2012 and SBD (training.data.sets.voc).
mIoU on the validation images, all numbers from the paper:

    recipe                      fc7 with   normalised   mIoU
    parsenet/voc/baseline       -                      65.82
    parsenet/voc/baseline-norm  -          yes         65.66
    parsenet/voc/early          pool6                  65.30
    parsenet/voc/early-norm     pool6      yes         69.43
    parsenet/voc/late           pool6                  69.29
    parsenet/voc/late-norm      pool6      yes         69.55

Table 7 with parsenet/voc/early-norm: --model.combine conv, --model.init-scale 1,
--model.no-normalize; the pyramid of regions with --model.grid 1 2 4.

From the paper: the poly schedule with power 0.9, momentum 0.9, xavier initialisation of layers
without VGG16 weights, and the learning rate. Its 1e-9 is for a loss summed over the pixels; for a
mean over the 500x500 of an image it corresponds to 1e-9 * 250000 = 2.5e-4, the rate here; for a sum
use --final.loss.reduction sum. The paper doesn't give the L2 penalty (here DeepLab's for a mean,
5e-4; next to a sum it would be negligible), crop (DeepLab's), batch size (8) and number of steps
(here 16 epochs, as many as its 80000 steps are on PASCAL-Context). If 8 images don't fit into
memory, --data.batch-size 2 --final.accumulate 4 is equivalent.

    keras-dpn train parsenet/camvid --data-dir CAMVID --work-dir RUN \
        --weights hed_bsds500.weights.h5

CamVid, short: as the unary stage of dpn/camvid, which explains it, in 8 epochs. Other fusions with
--model.fusion early | none and --model.no-normalize. Scores: docs/RESULTS.md.
"""

from dataclasses import replace
from typing import Literal

from ..networks import ParseNetConfig, ParseNetTrainConfig
from ._base import (
    CAMVID_DPN,
    GPU,
    HED,
    MINUTES,
    PARSENET_SOLVER,
    VGG16,
    VOC_DATA,
    Recipe,
    short_camvid_stage,
)

_VOC = ParseNetTrainConfig(
    data=replace(VOC_DATA, batch_size=8), final=PARSENET_SOLVER, validation_epochs=4
)
_CAMVID = ParseNetTrainConfig(
    data=CAMVID_DPN.data,
    final=short_camvid_stage(r"b9|b10(_.*)?|b11(_.*)?|pool6_norm"),
    precision=CAMVID_DPN.precision,
    validation_epochs=CAMVID_DPN.validation_epochs,
)


def _voc(fusion: Literal["late", "early"] | None, normalize: bool, paper: float) -> Recipe:
    title = f"{fusion} fusion" if fusion else "fc7 alone"
    return Recipe(
        replace(_VOC, model=ParseNetConfig(fusion=fusion, normalize=normalize)),
        f"ParseNet, {title}{', normalised' if normalize else ''}",
        cost=GPU,
        paper_miou=paper,
        weights=VGG16,
    )


RECIPES = {
    "parsenet/voc/baseline": _voc(None, normalize=False, paper=65.82),
    "parsenet/voc/baseline-norm": _voc(None, normalize=True, paper=65.66),
    "parsenet/voc/early": _voc("early", normalize=False, paper=65.30),
    "parsenet/voc/early-norm": _voc("early", normalize=True, paper=69.43),
    "parsenet/voc/late": _voc("late", normalize=False, paper=69.29),
    "parsenet/voc/late-norm": _voc("late", normalize=True, paper=69.55),
    "parsenet/camvid": Recipe(
        _CAMVID,
        "ParseNet, late fusion, normalised",
        cost=MINUTES,
        measured_miou=61.5,
        weights=HED,
    ),
}
