"""Generated houses whose roofs and walls look the same: only what is above tells them apart.

    python -m training.train houses_unary --work-dir RUN
    python -m training.train houses_above --work-dir RUN2
    python -m training.train houses_surrounding --work-dir RUN3
    python -m training.evaluate --work-dir RUN2 --stages

Small PiecewiseCRFs with a short sight, each trained from nothing on a CPU in minutes: the unary
potential alone, and with the pairwise potential of a relation that tells above from below, or of
one that does not. Both look as far as from one end of a house to the other, upwards or both ways.
`training.data.houses` says what there is to see. Scores: docs/RESULTS.md.
"""

from dataclasses import replace

from ...data.generated.houses import BASE_SIZE, SIGHT
from ...data.pipeline.batches import Augmentation
from ..networks import PiecewiseTrainConfig
from ..networks.piecewise_crf import PiecewiseCRFConfig
from ..schema import DataConfig, StageConfig

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
    data=DataConfig(dataset="houses", batch_size=8, augmentation=Augmentation(crop=BASE_SIZE)),
    unary=_STAGE,
    pairwise=_STAGE,
    pieces=_STAGE,
    validation_epochs=6,
)


def _with(relation: str, bottom: float) -> PiecewiseTrainConfig:
    relations = {relation: (-SIGHT[0], -SIGHT[1], bottom, SIGHT[1])}
    return replace(_UNARY, model=replace(_UNARY.model, relations=relations))


RECIPES = {
    "houses_unary": _UNARY,
    "houses_above": _with("above", bottom=0.0),
    "houses_surrounding": _with("surrounding", bottom=SIGHT[0]),
}
