import itertools

import numpy as np
import pytest

from keras_dpn import models
from training.export.verification import (
    MOTION,
    Expectation,
    compare,
    expectations,
    moving_clip,
)

pytestmark = pytest.mark.tensorflow_only


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (19, 23, 3), "uint8")


def test_an_export_that_computes_something_else_is_refused(tmp_path):
    expected = {"image": Expectation({}, np.zeros((1, 2, 2), "uint8"))}
    labels = np.array([[[0, 0], [1, 1]]])
    path = tmp_path / "street" / "1"
    with pytest.raises(ValueError, match="street.1, image: the export doesn't .* 50.00% "):
        list(compare(lambda *_: labels, expected, path, min_agreement=0.6))
    (line,) = compare(lambda *_: labels, expected, path, min_agreement=0.5)
    assert line == f"{path}, image: 50.00% of the labels agree"


def test_the_moving_image_moves_along_its_flow(image):
    frames = moving_clip(image, 3)
    np.testing.assert_array_equal(frames[1], image)
    for before, after in itertools.pairwise(frames):
        np.testing.assert_array_equal(before[:, :-MOTION], after[:, MOTION:])
    tiny = {"width": 0.0625, "backbone": {"fc_width": 16}, "local_conv": {"window": 3}}
    model = models.SpatialTemporalDPN(3, pairwise=None, **tiny)
    inputs = expectations(model, image)["clip_with_flow"].inputs
    assert (inputs["forward_flow"] == [MOTION, 0]).all()
    assert (inputs["backward_flow"] == [-MOTION, 0]).all()
