"""List the recipes with network, dataset, cost and score, or explain one.

    keras-dpn recipes
    keras-dpn recipes dpn/camvid

A recipe is a complete configuration of `keras-dpn train`, named network/dataset or
network/dataset/variant.
"""

from tyro.conf import Positional

from ..configs.recipes import INFO, RECIPES, Recipe, find_recipe
from ..utils.counts import counted


def main(name: Positional[str | None] = None) -> None:
    """List the recipes, or explain one.

    Args:
        name: a recipe; by default all are listed.
    """
    if name is not None:
        name = find_recipe(name)
        print(explain(name, INFO[name]))
        return
    width = max(map(len, INFO))
    print(f"{'recipe':<{width}}  mIoU, %  paper  trains; cost")
    for name, recipe in INFO.items():
        scores = recipe.measured_miou, recipe.paper_miou
        here, paper = ("" if score is None else f"{score:.1f}" for score in scores)
        print(f"{name:<{width}}  {here:>7}  {paper:>5}  {recipe.title}; {recipe.cost}")


def explain(name: str, recipe: Recipe) -> str:
    """Return what a recipe trains, how, and the command that starts it."""
    config = RECIPES[name]
    lines = [f"{name}: {recipe.title}", ""]
    lines += [f"network   {config.network}: {'; '.join(config.summary())}"]
    images = counted(config.data.batch_size, "image")
    lines += [f"dataset   {config.data.dataset}, {images} per step"]
    for stage in config.stages:
        settings = config.stage(stage.name)
        if settings.is_trained:
            rate = f"learning rate {settings.learning_rate:g}, {settings.schedule}"
            length = counted(settings.epochs, "epoch")
            if settings.steps:
                length += f", at least {settings.steps} updates"
            lines.append(f"stage     {stage.name}: {length}, {rate}")
    lines.append(f"cost      {recipe.cost}")
    for title, score in (("here", recipe.measured_miou), ("paper", recipe.paper_miou)):
        if score is not None:
            lines.append(f"mean IoU  {score:.1f}% ({title})")
    return "\n".join([*lines, "", recipe.command(name)])
