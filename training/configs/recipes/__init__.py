"""Recipes: typed configurations, one file a recipe."""

from ..schema import TrainConfig
from ..serialization import from_json, to_json
from . import (
    camvid,
    context_scenes,
    deeplab,
    fcn,
    folder,
    houses,
    moving_scenes,
    parsenet,
    piecewise,
    scenes,
    street,
    voc,
)

RECIPES: dict[str, TrainConfig] = {
    **scenes.RECIPES,
    **moving_scenes.RECIPES,
    **context_scenes.RECIPES,
    **houses.RECIPES,
    **camvid.RECIPES,
    **street.RECIPES,
    **folder.RECIPES,
    **voc.RECIPES,
    **deeplab.RECIPES,
    **parsenet.RECIPES,
    **fcn.RECIPES,
    **piecewise.RECIPES,
}

__all__ = ["RECIPES", "TrainConfig", "from_json", "to_json"]
