"""The built-in scenes: a small network, trained from random weights on a CPU in minutes.

keras-dpn train dpn/scenes --work-dir RUN
"""

from ._base import MINUTES, SCENES_DPN, Recipe

RECIPES = {
    "dpn/scenes": Recipe(SCENES_DPN, "small DPN in four stages", cost=MINUTES, measured_miou=83.3)
}
