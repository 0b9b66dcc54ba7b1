import dataclasses

import numpy as np
import pytest

from training.configs.recipes import RECIPES
from training.engine.setup import prepare

WIDTH = 0.02


def config_of(recipe, **changes):
    config = RECIPES[recipe]
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, width=WIDTH), **changes
    )


@pytest.fixture
def prepared(small_scenes, monkeypatch, tmp_path):
    """Make a function that prepares a run on a small dataset."""
    monkeypatch.setattr("training.engine.setup.open_dataset", lambda *args: small_scenes)
    return lambda config: prepare(config, tmp_path / "run")


def test_scales_are_taken_from_training_images(prepared, messages):
    config = config_of("parsenet/context-scenes", adapt_scales=2)
    model = prepared(config).trainer.model
    assert "initial scales from 2 images: b10_norm " in messages()
    assert not np.allclose(model.get_layer("b10_norm").scale, config.model.init_scale)


def test_scales_need_normalised_features(prepared):
    with pytest.raises(ValueError, match="--adapt-scales: this DPN has no normalised features"):
        prepared(config_of("dpn/scenes", adapt_scales=1))
