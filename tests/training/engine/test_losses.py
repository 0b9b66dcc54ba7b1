import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dpn import losses
from keras_dpn.losses import SegmentationCrossEntropy
from keras_dpn.models import DeepLab
from training.configs.networks import DeepLabTrainConfig, DPNTrainConfig
from training.configs.schema import LossConfig, StageConfig
from training.data.statistics import median_frequency_weights
from training.engine.losses import SubsampledLoss
from training.engine.trainer import Trainer


@pytest.mark.parametrize("size", [(33, 41), (32, 47)])
def test_a_subsampled_loss_compares_the_grid_before_it_was_upsampled(size):
    model = DeepLab(num_classes=3, width=0.03)
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, *size, 3)).astype("float32")
    labels = rng.choice([0, 1, 2, 255], (2, *size))
    wanted = [model.get_layer("b11").output, model.head_model("unary").output]
    grid, logits = keras.Model(model.input, wanted)(image)
    loss, sampled = SegmentationCrossEntropy(255), labels[:, ::8, ::8]
    rows, columns = sampled.shape[1:]  # the map may have a cell behind the image
    expected = loss(sampled, grid[:, :rows, :columns])
    assert float(SubsampledLoss(loss, 8)(labels, logits)) == pytest.approx(
        float(expected), rel=1e-5
    )
    assert float(loss(labels, logits)) != pytest.approx(float(expected), rel=1e-3)


ADDED = {"dice": 0.5, "jaccard": 0.25, "tversky": 2.0, "focal": 3.0, "lovasz": 0.125}


def trainer(config, dataset, work_dir):
    counts = np.array([30, 60, 10, *[5] * 8]), np.full(11, 200)
    return Trainer(config, None, dataset, counts, work_dir, tf.distribute.get_strategy())


def test_a_stages_loss_is_the_cross_entropy_and_what_is_added(small_scenes, tmp_path):
    training = trainer(DPNTrainConfig(), small_scenes, tmp_path)
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
        settings = {"class_weight_power": power, "class_weight_cap": 2.0, "ohem_fraction": 0.5}
        alone = SegmentationCrossEntropy(class_weights=by_class, ohem_fraction=0.5)(labels, logits)
        assert value(**settings) == pytest.approx(float(alone), rel=1e-6)
        smooth = SegmentationCrossEntropy(class_weights=by_class, label_smoothing=0.1)
        found = value(class_weight_power=power, class_weight_cap=2.0, label_smoothing=0.1)
        assert found == pytest.approx(float(smooth(labels, logits)), rel=1e-6)
        terms = {name: ADDED[name] * float(added[name](labels, logits)) for name in added}
        for name, term in terms.items():
            found = value(**settings, **arguments, **{name: ADDED[name]})
            assert found == pytest.approx(float(alone) + term, rel=1e-5)
        found = value(**settings, **arguments, **ADDED)
        assert found == pytest.approx(float(alone) + sum(terms.values()), rel=1e-5)


def test_added_losses_are_compared_on_the_same_grid(small_scenes, tmp_path):
    training = trainer(DeepLabTrainConfig(), small_scenes, tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.choice([*range(11), 255], (2, 17, 25))
    logits = rng.normal(size=(2, 17, 25, 11)).astype("float32")
    settings = LossConfig(subsampled=True, dice=0.5)
    loss = training._loss(training.config.stages[0], StageConfig(loss=settings))
    small = labels[:, ::8, ::8], logits[:, ::8, ::8]
    expected = SegmentationCrossEntropy()(*small) + 0.5 * losses.SegmentationDice()(*small)
    assert float(loss(labels, logits)) == pytest.approx(float(expected), rel=1e-6)
