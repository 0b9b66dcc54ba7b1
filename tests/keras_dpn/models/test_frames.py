import keras
import numpy as np
import pytest

from keras_dpn.layers import DynamicNodeLink
from keras_dpn.models.frames import FindLinks, FollowLinks


@pytest.fixture
def clip():
    """Frames, forward and backward flow."""
    rng = np.random.default_rng(0)
    forward = rng.normal(0, 1.2, (2, 3, 5, 6, 2)).astype("float32")
    backward = (rng.normal(0, 0.3, forward.shape) - forward).astype("float32")
    return rng.normal(size=(2, 4, 5, 6, 3)).astype("float32"), forward, backward


@pytest.mark.parametrize("frames", [3, 5])
def test_links_are_found_once_and_followed_in_anything(frames, clip):
    x, forward, backward = clip
    links = FindLinks(frames, threshold=1.5)(clip)
    follow = FollowLinks(frames)
    for values in (x, x[..., :1] ** 2):
        expected, _ = DynamicNodeLink(frames, threshold=1.5)((values, forward, backward))
        np.testing.assert_array_equal(follow((values, *links)), expected)


def test_without_links_neighbors_are_at_the_same_position(clip):
    x, *_ = clip
    np.testing.assert_array_equal(FollowLinks(3)((x,)), DynamicNodeLink(3)(x)[0])


def test_flows_fit_the_frames(clip):
    x, forward, backward = clip
    with pytest.raises(ValueError, match="`backward_flow`.*the steps between frames"):
        FindLinks()((x, forward, backward[:, :2]))
    symbolic = [keras.KerasTensor(value.shape) for value in (x, forward[:, :, 1:], backward)]
    with pytest.raises(ValueError, match="`forward_flow`"):
        FindLinks()(symbolic)


@pytest.mark.parametrize("layer", [FindLinks(5, 0.5), FollowLinks(5)])
def test_config(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
    assert config["frames"] == 5
