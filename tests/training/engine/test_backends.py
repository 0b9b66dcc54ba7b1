"""Training of each kind of network gives the same losses on TensorFlow and on JAX.

The expected losses hold for both: `make test` runs this file on TensorFlow and on JAX. They were
equal to 1e-6, those of PiecewiseCRF to 3e-5.
"""

import dataclasses

import keras
import numpy as np
import pytest

from tests.training.conftest import MODEL
from training.configs.crf import CRFConfig
from training.configs.networks.deeplab import DeepLabConfig, DeepLabTrainConfig
from training.configs.networks.dpn import DPNTrainConfig
from training.configs.networks.fcn import FCNConfig, FCNTrainConfig
from training.configs.networks.parsenet import ParseNetConfig, ParseNetTrainConfig
from training.configs.networks.piecewise_crf import PiecewiseCRFConfig, PiecewiseTrainConfig
from training.configs.networks.spatial_temporal_dpn import (
    ClipDataConfig,
    SpatialTemporalDPNConfig,
    SpatialTemporalDPNTrainConfig,
)
from training.configs.schema import Augmentation, DataConfig, LossConfig, StageConfig
from training.engine.devices import choose_devices
from training.engine.networks import build_model
from training.engine.trainer import Trainer

pytestmark = pytest.mark.skipif(keras.backend.backend() == "torch", reason="trains on no PyTorch")

AUGMENTATION = Augmentation(crop=(32, 48), scale=(0.8, 1.2), brightness=0.1)
DATA = {"data": DataConfig(batch_size=1, augmentation=AUGMENTATION)}
STAGE = StageConfig(epochs=1, optimizer="sgd", learning_rate=0.03, clip_norm=1.0)
# Frozen where another case trains them: JAX's compiler takes seconds for the gradients.
FROZEN = dataclasses.replace(STAGE, freeze=r"(.*_)?b[1-8]_.*")
SMALL = {"width": 0.04, "dropout": 0.0}
ADDED = LossConfig(unary=0.5, dice=0.5, focal=0.5, lovasz=0.5, class_weight_power=0.5)
ACCUMULATED = dataclasses.replace(STAGE, accumulate=3, ema_momentum=0.5)
# A network's configuration, the stage that trains most of it, and the mean loss after each step.
CASES = {
    "dpn": (
        DPNTrainConfig(
            data=dataclasses.replace(DATA["data"], passes_per_epoch=2),
            model=dataclasses.replace(MODEL, **SMALL),
            joint=dataclasses.replace(ACCUMULATED, loss=ADDED),
        ),
        "joint",
        [7.834606, 10.482391, 9.283752, 8.456867, 8.027555, 7.948008],
    ),
    "dpn-video": (
        SpatialTemporalDPNTrainConfig(
            data=ClipDataConfig(batch_size=1, augmentation=AUGMENTATION),
            model=SpatialTemporalDPNConfig(
                backbone=MODEL.backbone,
                local_conv=MODEL.local_conv,
                contexts=MODEL.contexts,
                pairwise_stride=4,
                **SMALL,
            ),
            joint=FROZEN,
        ),
        "joint",
        [2.427442, 2.850059, 2.665023],
    ),
    "deeplab-crf": (
        DeepLabTrainConfig(
            **DATA,
            model=DeepLabConfig(multiscale=True, crf=CRFConfig(num_iterations=2), **SMALL),
            joint=FROZEN,
        ),
        "joint",
        [196.6441, 256.98583, 229.26271],
    ),
    "parsenet": (
        ParseNetTrainConfig(**DATA, model=ParseNetConfig(**SMALL), final=FROZEN),
        "final",
        [4.054001, 3.750981, 3.436142],
    ),
    "fcn": (
        FCNTrainConfig(**DATA, model=FCNConfig(fc6_kernel=3, **SMALL), final=FROZEN),
        "final",
        [7.217306, 6.49391, 5.85217],
    ),
    "piecewise-field": (
        PiecewiseTrainConfig(
            **DATA,
            model=PiecewiseCRFConfig(
                width=0.06, units=64, num_blocks=1, block6=((1, 64),), scales=(1.0,)
            ),
            joint=FROZEN,
        ),
        "joint",
        [1881.9794, 1764.3467, 1614.452],
    ),
}


class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(float(logs["loss"]))


def set_weights(model):
    """Set kernels that do not depend on the backend's random numbers."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) > 1:
            deviation = np.sqrt(2 / np.prod(weight.shape[:-1]))
            weight.assign(rng.normal(0, deviation, weight.shape))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("case", CASES)
def test_first_steps(case, small_scenes, small_clips, tmp_path):
    config, name, expected = CASES[case]
    dataset = small_clips if config.clip_frames else small_scenes
    classes = dataset.classes.num_classes
    strategy = choose_devices("cpu")
    model = build_model(config, classes)
    set_weights(model)
    counts = (np.arange(1, classes + 1), np.full(classes, 2 * classes))
    trainer = Trainer(config, model, dataset, counts, tmp_path, strategy)
    stage = next(stage for stage in config.stages if stage.name == name)
    settings = config.stage(name)
    losses = Losses()
    compiled = trainer.ready(stage)
    batches = trainer.batches.train(settings, 0, 0)
    compiled.fit(batches, epochs=1, verbose=0, callbacks=[losses])
    np.testing.assert_allclose(losses.means, expected, rtol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="TensorFlow's: test_devices.py")
def test_devices_that_jax_does_not_have():
    assert choose_devices("cpu").num_replicas_in_sync == 1
    with pytest.raises(ValueError, match="--devices cpu:7: JAX has started with 1 devices"):
        choose_devices("cpu:7")
    with pytest.raises(ValueError, match="--devices gpu: JAX finds 0 of these GPUs"):
        choose_devices("gpu")
