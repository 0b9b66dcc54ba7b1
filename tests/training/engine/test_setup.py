import dataclasses
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from training.configs.recipes import RECIPES
from training.configs.schema import StageConfig
from training.engine.progress import Progress
from training.engine.setup import TrainingJob, describe_dry_run, prepare

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


@pytest.mark.usefixtures("eager")
def test_a_dry_run_measures_and_writes_nothing(small_scenes, monkeypatch, tmp_path):
    monkeypatch.setattr("training.engine.setup.open_dataset", lambda *args: small_scenes)
    stages = dict.fromkeys(("triple", "contexts", "joint"), StageConfig())
    config = config_of("dpn/scenes", unary=StageConfig(steps=7, batch_size=2), **stages)
    text = describe_dry_run(config, tmp_path / "run")
    head, unary, _, network, *_, time = text.splitlines()
    assert unary.split()[:4] == ["unary", "1", "50", "2"]
    assert network.endswith(" parameters") and time.startswith("time     about ")
    assert not list(tmp_path.iterdir())


def test_trackers_receive_what_comes_after_the_last_epoch(small_scenes, tmp_path):
    """Such as the validation of a stage that a resumed run ends where it is."""

    class Recorder(nullcontext):
        def send(self, history):
            self.received = list(history)

    progress, recorder = Progress(history=[{"stage": "unary", "epoch": 1}]), Recorder()

    def fit():
        progress.history.append({"stage": "unary", "epoch": 1, "val_miou": 0.5})
        return []

    trainer = SimpleNamespace(
        fit=fit, progress=progress, trackers=recorder, write_model=lambda: None
    )
    TrainingJob(RECIPES["dpn/scenes"], tmp_path, small_scenes, trainer, ExitStack()).run()
    assert recorder.received == progress.history and len(progress.history) == 2
