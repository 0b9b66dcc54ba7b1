import dataclasses
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from training.configs.recipes import RECIPES
from training.configs.schema import StageConfig
from training.configs.serialization import to_json
from training.data.generated.scenes import ScenesDataset
from training.engine.networks import build_model
from training.engine.progress import Progress
from training.engine.setup import TrainingJob, describe_dry_run, prepare
from training.utils.files import write_json

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


@pytest.fixture
def interrupted(prepared, tmp_path):
    """The configuration of a run that was killed after its first checkpoint, in tmp_path/run."""
    weights = tmp_path / "initial.keras"
    build_model(config_of("dpn/scenes"), 11).save(weights)
    config = config_of("dpn/scenes", weights=str(weights), seed=1)
    job = prepared(config)
    with job.held:
        job.trainer.checkpoints.save(job.trainer.model, None, vars(job.trainer.progress))
        write_json(tmp_path / "run/config.json", to_json(job.config))
    return job.config


def test_a_resumed_run_needs_no_initial_weights(interrupted, tmp_path):
    expected = keras.models.load_model(interrupted.weights)
    Path(interrupted.weights).unlink()
    job = prepare(interrupted, tmp_path / "run", resume=True)
    for a, b in zip(job.trainer.model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_resumed_run_removes_the_models_of_killed_processes(interrupted, tmp_path):
    (stage := tmp_path / "run/stages/1_unary").mkdir(parents=True)
    names = [f".{'0a' * 16}.model.keras", ".own.model.keras", "model.keras"]
    for name in names:
        (stage / name).touch()
    (tmp_path / "run/stages/.DS_Store").touch()
    prepare(interrupted, tmp_path / "run", resume=True)
    assert sorted(path.name for path in stage.iterdir()) == names[1:]


def test_a_resumed_run_warns_of_other_images(interrupted, monkeypatch, tmp_path, messages):
    data = ScenesDataset({"train": 2, "val": 3}, size=(48, 64))
    monkeypatch.setattr("training.engine.setup.open_dataset", lambda *args: data)
    progress = prepare(interrupted, tmp_path / "run", resume=True).trainer.progress
    assert "scenes train: 2 examples now, 3 before the run was resumed" in messages()
    assert "scenes val" not in messages()
    assert progress.examples == {"train": 2, "val": 3}


@pytest.mark.usefixtures("eager")
def test_a_resumed_run_keeps_the_passes_of_its_epochs(small_scenes, monkeypatch, tmp_path):
    monkeypatch.setattr("training.engine.setup.open_dataset", lambda *args: small_scenes)
    stages = dict.fromkeys(("triple", "contexts", "joint"), StageConfig())
    config = config_of("dpn/scenes", unary=StageConfig(epochs=9, batch_size=2), **stages)
    data = dataclasses.replace(config.data, passes_per_epoch=25)
    earlier = dataclasses.replace(config, data=data)
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run/config.json", to_json(earlier))
    (tmp_path / "run/checkpoints").mkdir()
    text = describe_dry_run(config, tmp_path / "run", resume=True)
    assert text.splitlines()[1].split()[:3] == ["unary", "9", "225"]


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
