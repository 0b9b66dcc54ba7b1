"""The built-in scenes in motion: a small network for images, and networks for clips based on it.

    keras-dpn train dpn/moving-scenes --work-dir RUN
    keras-dpn train dpn-video/moving-scenes --work-dir RUN2 \
        --weights RUN/stages/1_unary/model.keras

The networks for clips start from the unary term of the one for images. They link a
pixel's neighbours in time along the optical flow, or at the same position
(dpn-video/moving-scenes/static).
Scores: docs/RESULTS.md.
"""

from dataclasses import replace

from ..networks import ClipDataConfig, SpatialTemporalDPNConfig, SpatialTemporalDPNTrainConfig
from ._base import MINUTES, SCENES_DPN, UNARY, Recipe

_MODEL = SCENES_DPN.model
_IMAGES = replace(SCENES_DPN, data=replace(SCENES_DPN.data, dataset="moving_scenes"))
_LINKED = SpatialTemporalDPNTrainConfig(
    model=SpatialTemporalDPNConfig(
        **vars(_MODEL) | {"contexts": replace(_MODEL.contexts, window=7)}
    ),
    data=ClipDataConfig(**vars(_IMAGES.data)),
    triple=SCENES_DPN.triple,
    contexts=SCENES_DPN.contexts,
    joint=SCENES_DPN.joint,
)

RECIPES = {
    "dpn/moving-scenes": Recipe(
        _IMAGES, "small DPN in four stages", cost=MINUTES, measured_miou=78.3
    ),
    "dpn-video/moving-scenes": Recipe(
        _LINKED,
        "small spatial-temporal DPN, frames linked by optical flow",
        cost=MINUTES,
        measured_miou=80.9,
        weights=UNARY,
    ),
    "dpn-video/moving-scenes/static": Recipe(
        replace(_LINKED, model=replace(_LINKED.model, linking="static")),
        "small spatial-temporal DPN, frames linked at the same position",
        cost=MINUTES,
        measured_miou=80.1,
        weights=UNARY,
    ),
}
