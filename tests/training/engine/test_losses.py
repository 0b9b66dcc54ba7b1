import keras
import numpy as np
import pytest

from keras_dpn.losses import SegmentationCrossEntropy
from keras_dpn.models import DeepLab
from training.engine.losses import SubsampledLoss


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
