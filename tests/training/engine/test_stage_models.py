import numpy as np
import pytest

from keras_dpn import losses
from keras_dpn.losses import SegmentationCrossEntropy
from training.configs.networks import DeepLabTrainConfig, DPNTrainConfig
from training.configs.schema import LossConfig, StageConfig
from training.data.statistics import median_frequency_weights
from training.engine.stage_models import StageModels

ADDED = {"dice": 0.5, "jaccard": 0.25, "tversky": 2.0, "focal": 3.0, "lovasz": 0.125}


COUNTS = np.array([30, 60, 10, *[5] * 8]), np.full(11, 200)


def stage_loss(config, settings):
    """The loss of the first stage with other settings; it needs no network."""
    models = StageModels(config, None, ignore_label=255, pixel_counts=COUNTS)
    return models.loss(config.stages[0], StageConfig(loss=settings))


def test_a_stages_loss_is_the_cross_entropy_and_what_is_added():
    rng = np.random.default_rng(0)
    labels = rng.choice([*range(11), 255], (2, 6, 8))
    logits = rng.normal(size=(2, 6, 8, 11)).astype("float32")

    def value(**settings):
        return float(stage_loss(DPNTrainConfig(), LossConfig(**settings))(labels, logits))

    arguments = {"tversky_alpha": 1.0, "tversky_beta": 3.0, "focal_gamma": 1.0, "lovasz_stride": 2}
    weights = median_frequency_weights(*COUNTS, cap=2.0)
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


def test_added_losses_are_compared_on_the_same_grid():
    rng = np.random.default_rng(0)
    labels = rng.choice([*range(11), 255], (2, 17, 25))
    logits = rng.normal(size=(2, 17, 25, 11)).astype("float32")
    loss = stage_loss(DeepLabTrainConfig(), LossConfig(subsampled=True, dice=0.5))
    small = labels[:, ::8, ::8], logits[:, ::8, ::8]
    expected = SegmentationCrossEntropy()(*small) + 0.5 * losses.SegmentationDice()(*small)
    assert float(loss(labels, logits)) == pytest.approx(float(expected), rel=1e-6)
