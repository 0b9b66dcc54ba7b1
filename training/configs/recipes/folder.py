"""Your own images and label maps, in the folder layout of training.data.sets.folder.

keras-dpn train dpn/folder --data-dir DIR --work-dir RUN --weights VGG16_FILE
"""

from dataclasses import replace

from ..schema import DataConfig
from ._base import CAMVID_DPN, HOURS, VGG16, Recipe

_FOLDER = replace(
    CAMVID_DPN,
    data=DataConfig(
        dataset="folder", batch_size=4, augmentation=replace(CAMVID_DPN.data.augmentation)
    ),
    # At least as many updates as on CamVid's 367 images, however few there are.
    unary=replace(CAMVID_DPN.unary, epochs=4, steps=2000),
    triple=replace(CAMVID_DPN.triple, epochs=1, steps=90),
    contexts=replace(CAMVID_DPN.contexts, epochs=1, steps=270),
    joint=replace(CAMVID_DPN.joint, epochs=1, steps=360),
)

RECIPES = {
    "dpn/folder": Recipe(
        _FOLDER, "DPN in four stages, on your own images", cost=HOURS, weights=VGG16
    )
}
