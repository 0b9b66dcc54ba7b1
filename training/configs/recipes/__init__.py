"""Recipes: typed configurations, named network/dataset or network/dataset/variant."""

import difflib

from ..schema import TrainConfig
from . import (
    camvid,
    cityscapes,
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
from ._base import Recipe

INFO: dict[str, Recipe] = {
    **scenes.RECIPES,
    **moving_scenes.RECIPES,
    **context_scenes.RECIPES,
    **houses.RECIPES,
    **camvid.RECIPES,
    **street.RECIPES,
    **cityscapes.RECIPES,
    **folder.RECIPES,
    **voc.RECIPES,
    **deeplab.RECIPES,
    **parsenet.RECIPES,
    **fcn.RECIPES,
    **piecewise.RECIPES,
}
"""The recipes with title, scores and cost."""

RECIPES: dict[str, TrainConfig] = {name: recipe.config for name, recipe in INFO.items()}
"""The recipes' configurations."""

ALIASES = {
    "scenes": "dpn/scenes",
    "moving_scenes": "dpn/moving-scenes",
    "moving_scenes_linked": "dpn-video/moving-scenes",
    "moving_scenes_static": "dpn-video/moving-scenes/static",
    "context_scenes": "parsenet/context-scenes",
    "context_scenes_local": "parsenet/context-scenes/local",
    "houses_unary": "piecewise/houses/unary",
    "houses_above": "piecewise/houses/above",
    "houses_surrounding": "piecewise/houses/surrounding",
    "camvid": "dpn/camvid",
    "camvid_linked": "dpn-video/camvid",
    "camvid_static": "dpn-video/camvid/static",
    "street": "dpn/camvid/street",
    "folder": "dpn/folder",
    "dpn_voc": "dpn/voc",
    "dpn_coco": "dpn/coco",
    "deeplab_4x4_voc": "deeplab/voc/4x4",
    "deeplab_largestride_voc": "deeplab/voc/4x4-largestride",
    "deeplab_7x7_voc": "deeplab/voc/7x7",
    "deeplab_largefov_voc": "deeplab/voc/largefov",
    "deeplab_msc_largefov_voc": "deeplab/voc/msc-largefov",
    "deeplab_camvid": "deeplab/camvid",
    "deeplab_camvid_crf": "deeplab/camvid/crf",
    "parsenet_baseline_voc": "parsenet/voc/baseline",
    "parsenet_baseline_norm_voc": "parsenet/voc/baseline-norm",
    "parsenet_early_voc": "parsenet/voc/early",
    "parsenet_early_norm_voc": "parsenet/voc/early-norm",
    "parsenet_late_voc": "parsenet/voc/late",
    "parsenet_late_norm_voc": "parsenet/voc/late-norm",
    "camvid_parsenet": "parsenet/camvid",
    "fcn_context": "fcn/pascal-context",
    "fcn_fc7_context": "fcn/pascal-context/fc7",
    "fcn_siftflow": "fcn/sift-flow",
    "fcn_fc7_siftflow": "fcn/sift-flow/fc7",
    "camvid_fcn": "fcn/camvid",
    "piecewise_unary_1scale_voc": "piecewise/voc/unary-1scale",
    "piecewise_unary_voc": "piecewise/voc/unary",
    "piecewise_surrounding_voc": "piecewise/voc/surrounding",
    "piecewise_above_voc": "piecewise/voc/above",
    "piecewise_both_voc": "piecewise/voc/both",
    "piecewise_voc": "piecewise/voc",
    "camvid_piecewise": "piecewise/camvid",
}
"""The recipes' names in 0.1, and those of today."""


def find_recipe(name: str) -> str:
    """Return the name of a recipe today, given that name or the one in 0.1.

    Raises:
        ValueError: for an unknown recipe, with the nearest name.
    """
    name = ALIASES.get(name, name)
    if name not in RECIPES:
        near = difflib.get_close_matches(name, [*RECIPES, *ALIASES], n=1)
        advice = f"did you mean {ALIASES.get(near[0], near[0])}?" if near else ""
        raise ValueError(
            f"expected a recipe or the config.json of a run, received {name!r}; "
            f"{advice or '`keras-dpn recipes` lists them all.'}"
        )
    return name


__all__ = ["ALIASES", "INFO", "RECIPES", "Recipe", "TrainConfig", "find_recipe"]
