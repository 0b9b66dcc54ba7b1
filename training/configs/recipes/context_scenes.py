"""Generated landscapes in which only the whole image distinguishes some classes, for ParseNet.

    keras-dpn train parsenet/context-scenes --work-dir RUN
    keras-dpn train parsenet/context-scenes/local --work-dir RUN2

Small networks with and without global context, each trained from random weights on a CPU in
minutes. Both are trained on whole images: a crop would remove the relevant part. Scores:
docs/RESULTS.md.
"""

from dataclasses import replace

from ..networks import ParseNetConfig, ParseNetTrainConfig
from ..schema import Augmentation, DataConfig, StageConfig
from ._base import MINUTES, Recipe

_CONTEXT = ParseNetTrainConfig(
    model=ParseNetConfig(width=0.125, dropout=0.2),
    data=DataConfig(
        dataset="context_scenes",
        batch_size=8,
        augmentation=Augmentation(crop=(96, 384), brightness=0.05, contrast=0.1),
    ),
    final=StageConfig(epochs=10, learning_rate=2e-3),
    validation_epochs=2,
)

RECIPES = {
    "parsenet/context-scenes": Recipe(
        _CONTEXT, "small ParseNet with late fusion", cost=MINUTES, measured_miou=86.0
    ),
    "parsenet/context-scenes/local": Recipe(
        replace(_CONTEXT, model=replace(_CONTEXT.model, fusion=None)),
        "small ParseNet without global context",
        cost=MINUTES,
        measured_miou=58.1,
    ),
}
