"""What the scripts' tests share: small data, a finished run on disk, a browser."""

import dataclasses
import io
import json
import logging
import os
import shutil

import keras
import numpy as np
import pytest

from keras_dpn.inference import Predictor
from keras_dpn.models import DPN
from training.configs.networks import (
    BackboneConfig,
    ContextsConfig,
    DPNConfig,
    LocalConvConfig,
)
from training.configs.recipes import RECIPES
from training.configs.schema import TrainConfig
from training.configs.serialization import to_json
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.generated.scenes import ScenesDataset
from training.evaluation.evaluator import evaluate
from training.rundir.paths import stage_dir

CHROMIUM = shutil.which("chromium")
MODEL = DPNConfig(
    width=0.0625,
    backbone=BackboneConfig(name="large_fov", fc_width=16),
    local_conv=LocalConvConfig(window=5),
    contexts=ContextsConfig(window=3, mixtures=2),
    pairwise_stride=4,
)


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory):
    """Keep the records of what the commands wrote out of the user's directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def messages():
    """Make a function that returns what was logged since the test began."""
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("keras_dpn")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: stream.getvalue().strip()
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(scope="session")
def small_scenes():
    """Three generated pictures a split, 48x64."""
    return ScenesDataset({"train": 3, "val": 3, "test": 3}, size=(48, 64))


@pytest.fixture(scope="session")
def small_clips():
    """Generated sequences of three frames, 48x64."""
    return MovingScenesDataset({"train": 1, "val": 1}, size=(48, 64), frames=3)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, small_scenes):
    """The directory of a run with stages "unary" and "joint"; its model is not trained."""
    work_dir = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    model = DPN(small_scenes.classes.num_classes, **dataclasses.asdict(MODEL))
    config: TrainConfig = dataclasses.replace(RECIPES["dpn/scenes"], model=MODEL)
    (work_dir / "config.json").write_text(json.dumps(to_json(config)))
    stages = []
    for order, (stage, output) in enumerate({"unary": "unary", "joint": "final"}.items()):
        (path := stage_dir(work_dir, stage)).mkdir(parents=True)
        model.save(path / "model.keras")
        predictor = Predictor(model, heads=(output,))
        scores = evaluate(predictor, small_scenes, "val").head().to_json()
        facts = {"seconds": 100.0, "steps": 7, "epochs": 2 - order, "parameters_trained": 12345}
        stages.append({**scores, "name": stage, **facts})
        kernel = model.get_layer("b11").kernel
        kernel.assign(np.roll(kernel, 1, axis=-1))  # the stages differ
    model.save(work_dir / "model.keras")
    history = [
        {"stage": "unary", "epoch": 1, "loss": 1.0, "miou": 0.1},
        {"stage": "unary", "epoch": 2, "loss": 0.5, "miou": 0.2, "val_miou": 0.2},
        {"stage": "joint", "epoch": 1, "loss": 0.4, "miou": 0.3, "val_miou": 0.25},
    ]
    files = {
        "classes": small_scenes.classes.to_json(),
        "history": history,
        "results": {
            "config": to_json(config),
            "classes": small_scenes.classes.to_json(),
            "seed": 0,
            "versions": {"keras_dpn": "0.1.0"},
            "stages": stages,
        },
    }
    for name, content in files.items():
        (work_dir / f"{name}.json").write_text(json.dumps(content))
    return work_dir


@pytest.fixture(scope="module")
def browser():
    """A real browser; it may be missing, but not where everything is to be tested."""
    if not CHROMIUM and "CI" not in os.environ:
        pytest.skip("needs Debian's chromium")
    assert CHROMIUM, "CI needs Debian's chromium"
    from playwright import sync_api  # only here: most tests need no browser

    quiet = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
    quiet += ("--disable-background-networking", "--disable-component-update")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()
