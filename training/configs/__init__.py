"""Recipes: typed configurations, one file a recipe."""

from training.configs import camvid, folder, scenes
from training.configs.base import TrainConfig, from_json, to_json

RECIPES: dict[str, TrainConfig] = {**scenes.RECIPES, **camvid.RECIPES, **folder.RECIPES}

__all__ = ["RECIPES", "TrainConfig", "from_json", "to_json"]
