"""Your own photographs and label maps, in the folder layout of training.data.folder.

python -m training.train folder --data-dir DIR --work-dir RUN --weights VGG16_FILE
"""

from dataclasses import replace

from ..schema import DataConfig
from .camvid import RECIPES as _CAMVID

_BASE = _CAMVID["camvid"]

RECIPES = {
    "folder": replace(
        _BASE,
        data=DataConfig(
            dataset="folder", batch_size=4, augmentation=replace(_BASE.data.augmentation)
        ),
    )
}
