"""Generated landscapes in which only the whole picture tells some classes apart: ParseNet's case.

    python -m training.train context_scenes --work-dir RUN
    python -m training.train context_scenes_local --work-dir RUN2

Small networks with and without global context, each trained from nothing on a CPU in minutes. Both
see whole pictures: a crop would leave out what decides. Scores: docs/RESULTS.md.
"""

from dataclasses import replace

from ...data.pipeline.batches import Augmentation
from ..networks import ParseNetTrainConfig
from ..networks.parsenet import ParseNetConfig
from ..schema import DataConfig, StageConfig

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
    "context_scenes": _CONTEXT,
    "context_scenes_local": replace(_CONTEXT, model=replace(_CONTEXT.model, fusion=None)),
}
