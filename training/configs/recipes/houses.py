"""Generated houses whose roofs and walls look the same: only their order distinguishes them.

    keras-dpn train piecewise/houses/unary --work-dir RUN
    keras-dpn train piecewise/houses/above --work-dir RUN2
    keras-dpn train piecewise/houses/surrounding --work-dir RUN3
    keras-dpn evaluate RUN2 --heads

Small PiecewiseCRFs with a small receptive field, each trained from random weights on a CPU in
    minutes: the
unary potential alone, and with the pairwise potential of a relation that distinguishes above from
below, or of one that does not. The boxes of both span a house, upwards or in both directions.
`training.data.generated.houses` describes the images. Scores: docs/RESULTS.md.
"""

from dataclasses import replace

from ..networks import PiecewiseCRFConfig, PiecewiseTrainConfig
from ..networks.piecewise_crf import Relation
from ..schema import Augmentation, DataConfig, StageConfig
from ._base import MINUTES, Recipe

# As in training.data.generated.houses: the images' size; and the extent up or down and to the sides
# that covers a whole house and no other one, in units of the image's shorter side.
_SIZE = (176, 192)
_SIGHT = (0.25, 0.1)

_STAGE = StageConfig(epochs=6, learning_rate=3e-3)
_UNARY = PiecewiseTrainConfig(
    model=PiecewiseCRFConfig(
        scales=(1.0,),
        relations=(),
        num_blocks=2,
        block6=((1, 512),),
        num_neighbors=16,
        width=0.125,
    ),
    data=DataConfig(dataset="houses", batch_size=8, augmentation=Augmentation(crop=_SIZE)),
    unary=_STAGE,
    pairwise=_STAGE,
    pieces=_STAGE,
    validation_epochs=6,
)


def _with(relation: Relation, bottom: float, measured: float) -> Recipe:
    relations = {relation: (-_SIGHT[0], -_SIGHT[1], bottom, _SIGHT[1])}
    return Recipe(
        replace(_UNARY, model=replace(_UNARY.model, relations=relations)),
        f"small PiecewiseCRF with the relation “{relation}”",
        cost=MINUTES,
        measured_miou=measured,
    )


RECIPES = {
    "piecewise/houses/unary": Recipe(
        _UNARY,
        "small PiecewiseCRF, only the unary potential",
        cost="a minute on 2 CPU cores",
        measured_miou=64.3,
    ),
    "piecewise/houses/above": _with("above", bottom=0.0, measured=86.7),
    "piecewise/houses/surrounding": _with("surrounding", bottom=_SIGHT[0], measured=67.3),
}
