"""The built-in scenes in motion: the small network for pictures, and on it those for clips.

    python -m training.train moving_scenes --work-dir RUN
    python -m training.train moving_scenes_linked --work-dir RUN2 \
        --weights RUN/stages/1_unary/model.keras

The networks for clips begin with the unary term of the one for pictures. Theirs looks for a
pixel's neighbours in time along the optical flow, or at the same place (moving_scenes_static).
Scores: docs/RESULTS.md.
"""

from dataclasses import asdict, replace

from ..networks import SpatialTemporalDPNTrainConfig
from ..networks.spatial_temporal_dpn import ClipDataConfig, SpatialTemporalDPNConfig
from .scenes import RECIPES as _SCENES

_SCENE = _SCENES["scenes"]
_PICTURES = replace(_SCENE, data=replace(_SCENE.data, dataset="moving_scenes"))
_LINKED = SpatialTemporalDPNTrainConfig(
    model=SpatialTemporalDPNConfig(**asdict(_SCENE.model) | {"context_window": 7}),
    data=ClipDataConfig(**vars(_PICTURES.data)),
    triple=_SCENE.triple,
    contexts=_SCENE.contexts,
    joint=_SCENE.joint,
)

RECIPES = {
    "moving_scenes": _PICTURES,
    "moving_scenes_linked": _LINKED,
    "moving_scenes_static": replace(_LINKED, model=replace(_LINKED.model, linking="static")),
}
