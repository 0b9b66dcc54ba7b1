from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from keras_dpn.inference import InferenceSettings


def test_by_default_an_image_is_seen_once_as_it_is():
    settings = InferenceSettings()
    assert settings == InferenceSettings(
        scales=(1.0,), horizontal_flip=False, tile=None, overlap=256, memory_gib=None
    )
    assert settings.is_plain
    assert InferenceSettings(memory_gib=2.0, overlap=64).is_plain  # what fits is seen whole


@pytest.mark.parametrize(
    "setting", [{"scales": (1.0, 1.0)}, {"scales": 0.5}, {"horizontal_flip": True}, {"tile": 512}]
)
def test_other_views_are_not_plain(setting):
    assert not InferenceSettings(**setting).is_plain


def test_scales_become_a_tuple():
    for scales in ([0.5, 1.0], np.array([0.5, 1.0]), (0.5, 1.0)):
        assert InferenceSettings(scales=scales).scales == (0.5, 1.0)
    assert InferenceSettings(scales=2).scales == (2,)
    assert InferenceSettings(scales=1).is_plain


def test_settings_do_not_change_but_are_replaced():
    settings = InferenceSettings(memory_gib=1.0)
    with pytest.raises(FrozenInstanceError):
        settings.tile = 512
    assert replace(settings, tile=512, memory_gib=None) == InferenceSettings(tile=512)
    with pytest.raises(TypeError, match="positional"):
        InferenceSettings((1.0,))


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -1.0), (float("nan"),), float("inf")])
def test_wrong_scales_are_refused(scales):
    with pytest.raises(ValueError, match="`scales`: expected one or more factors above 0"):
        InferenceSettings(scales=scales)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": 500}, "`tile`: expected a multiple of 32 .* 512, received 500"),
        ({"tile": 480}, "`tile`: expected a multiple of 32 .* 512, received 480"),
        ({"tile": 96, "overlap": 64}, "`tile`: .* 128, received 96"),
        ({"overlap": 48}, "`overlap`: expected a multiple of 32 from 32 up, received 48"),
        ({"overlap": 0}, "`overlap`: .* received 0"),
        ({"max_pixels": 0}, "`max_pixels`: expected an integer of at least 1, received 0"),
        ({"memory_gib": 0}, "`memory_gib`: expected a finite number above 0, received 0"),
        ({"memory_gib": float("nan")}, "`memory_gib`: .* received nan"),
        ({"memory_gib": float("inf")}, "`memory_gib`: .* received inf"),
        (
            {"tile": 512, "memory_gib": 2.0},
            "`tile` and `memory_gib`: expected at most one of them; received 512 and 2.0",
        ),
    ],
)
def test_values_out_of_their_ranges_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        InferenceSettings(**settings)


def test_the_smallest_tile_is_twice_the_overlap():
    assert InferenceSettings(tile=64, overlap=32).tile == 64
