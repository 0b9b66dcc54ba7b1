"""Recipes: typed configurations, one file a recipe."""

from training.configs import camvid, deeplab, folder, moving_scenes, scenes
from training.configs.base import TrainConfig
from training.configs.files import from_json, to_json

RECIPES: dict[str, TrainConfig] = {
    **scenes.RECIPES,
    **moving_scenes.RECIPES,
    **camvid.RECIPES,
    **folder.RECIPES,
    **deeplab.RECIPES,
}

__all__ = ["RECIPES", "TrainConfig", "from_json", "to_json"]
