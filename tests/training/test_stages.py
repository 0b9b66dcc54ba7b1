import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dpn import losses
from keras_dpn.losses import SegmentationCrossEntropy
from keras_dpn.models import DeepLab
from training.configs.base import DataConfig, LossConfig, StageConfig
from training.configs.networks import DeepLabTrainConfig, DPNTrainConfig, PiecewiseTrainConfig
from training.data.pipeline import Augmentation
from training.data.statistics import median_frequency_weights
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


ADDED = {"dice": 0.5, "jaccard": 0.25, "tversky": 2.0, "focal": 3.0, "lovasz": 0.125}


def staged(config, dataset, work_dir):
    counts = np.array([30, 60, 10, *[5] * 8]), np.full(11, 200)
    return StagedTraining(config, None, dataset, counts, work_dir, tf.distribute.get_strategy())


def test_a_stages_loss_is_the_cross_entropy_and_what_is_added(small_scenes, tmp_path):
    training = staged(DPNTrainConfig(), small_scenes, tmp_path)
    stage, rng = training.config.stages[0], np.random.default_rng(0)
    labels = rng.choice([*range(11), 255], (2, 6, 8))
    logits = rng.normal(size=(2, 6, 8, 11)).astype("float32")

    def value(**settings):
        loss = training._loss(stage, StageConfig(loss=LossConfig(**settings)))
        return float(loss(labels, logits))

    arguments = {"tversky_alpha": 1.0, "tversky_beta": 3.0, "focal_gamma": 1.0, "lovasz_stride": 2}
    weights = median_frequency_weights(*training.pixel_counts, cap=2.0)
    for power, by_class in (0.0, None), (1.0, weights):
        added = {
            "dice": losses.SegmentationDice(),
            "jaccard": losses.SegmentationJaccard(),
            "tversky": losses.SegmentationTversky(alpha=1.0, beta=3.0),
            "focal": losses.SegmentationFocal(class_weights=by_class, gamma=1.0),
            "lovasz": losses.LovaszSoftmax(stride=2),
        }
        settings = {"class_weight_power": power, "class_weight_cap": 2.0, "hard_ratio": 0.5}
        alone = SegmentationCrossEntropy(class_weights=by_class, hard_ratio=0.5)(labels, logits)
        assert value(**settings) == pytest.approx(float(alone), rel=1e-6)
        terms = {name: ADDED[name] * float(added[name](labels, logits)) for name in added}
        for name, term in terms.items():
            found = value(**settings, **arguments, **{name: ADDED[name]})
            assert found == pytest.approx(float(alone) + term, rel=1e-5)
        found = value(**settings, **arguments, **ADDED)
        assert found == pytest.approx(float(alone) + sum(terms.values()), rel=1e-5)


def test_added_losses_are_compared_on_the_coarse_map_too(small_scenes, tmp_path):
    training = staged(DeepLabTrainConfig(), small_scenes, tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.choice([*range(11), 255], (2, 17, 25))
    logits = rng.normal(size=(2, 17, 25, 11)).astype("float32")
    settings = LossConfig(coarse=True, dice=0.5)
    loss = training._loss(training.config.stages[0], StageConfig(loss=settings))
    small = labels[:, ::8, ::8], logits[:, ::8, ::8]
    expected = SegmentationCrossEntropy()(*small) + 0.5 * losses.SegmentationDice()(*small)
    assert float(loss(labels, logits)) == pytest.approx(float(expected), rel=1e-6)


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
