import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dpn.losses import SegmentationCrossEntropy
from keras_dpn.models import DeepLab
from training.configs.base import DataConfig, StageConfig
from training.configs.networks import DPNTrainConfig, PiecewiseTrainConfig
from training.data.pipeline import Augmentation
from training.stages import StagedTraining, _CoarseLoss


@pytest.mark.parametrize("size", [(33, 41), (32, 47)])
def test_coarse_loss_compares_the_map_before_it_was_enlarged(size):
    model = DeepLab(num_classes=3, width=0.03)
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, *size, 3)).astype("float32")
    labels = rng.choice([0, 1, 2, 255], (2, *size))
    wanted = [model.get_layer("b11").output, model.stage_model("unary").output]
    coarse, logits = keras.Model(model.input, wanted)(image)
    loss, sampled = SegmentationCrossEntropy(255), labels[:, ::8, ::8]
    rows, columns = sampled.shape[1:]  # the map may have a cell behind the image
    expected = loss(sampled, coarse[:, :rows, :columns])
    assert float(_CoarseLoss(loss, 8)(labels, logits)) == pytest.approx(float(expected), rel=1e-5)
    assert float(loss(labels, logits)) != pytest.approx(float(expected), rel=1e-3)


def test_an_epoch_has_whole_updates(small_scenes, tmp_path):
    """Of three pictures two make an update; what its steps see is what one step would see."""
    data = DataConfig(batch_size=1, augmentation=Augmentation(crop=(32, 48)))
    training = StagedTraining(
        DPNTrainConfig(data=data), None, small_scenes, None, tmp_path, tf.distribute.get_strategy()
    )
    small, large = StageConfig(epochs=2, accumulate=2), StageConfig(epochs=2, batch_size=2)
    assert [training._steps_per_epoch(stage) for stage in (small, large)] == [2, 1]
    steps, updates = (list(training._train_batches(stage, 0, 0)) for stage in (small, large))
    assert [len(steps), len(updates)] == [4, 2]
    for i in (0, 1):
        seen = np.concatenate([step[i] for step in steps])
        np.testing.assert_array_equal(seen, np.concatenate([update[i] for update in updates]))


@pytest.mark.parametrize("config", [DPNTrainConfig(seed=4), PiecewiseTrainConfig(seed=4)])
def test_parts_of_a_stage_begin_as_the_whole_would(small_scenes, tmp_path, config):
    strategy = tf.distribute.get_strategy()
    training = StagedTraining(config, None, small_scenes, None, tmp_path, strategy)
    stages = {stage.name: stage for stage in config.stages}
    parts = [stage for stage in stages.values() if stage.whole == "pieces"]
    assert len({training._seed(stage) for stage in parts}) <= 1
    assert len({training._seed(stage) for stage in stages.values()}) == len(stages) - len(parts[1:])
    assert training._seed(stages["unary"]) == 4
    assert not training._has_learnt(stages["joint"])
    training.progress.results = [{"name": "unary"}]
    assert training._has_learnt(stages["joint"])
    assert not any(training._has_learnt(stage) for stage in parts)
