import keras
import numpy as np
import pytest

from keras_dpn.ops.checks import (
    check_channels_last,
    check_one_of,
    check_positive_int,
    known_values,
    standardize_spacing,
    standardize_window,
)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_positive_int(value):
    assert type(check_positive_int("n", value)) is int
    assert check_positive_int("n", value) == 3


@pytest.mark.parametrize("value", [1, 0, -2, 2.0, "2", None, True, (2,)])
def test_positive_int_refuses(value):
    with pytest.raises(ValueError, match="`n`: expected an integer of at least 2, received"):
        check_positive_int("n", value, minimum=2)


@pytest.mark.parametrize("window", [4, (4, 4), [4, 4], np.int32(4)])
def test_window(window):
    assert standardize_window(window, 2) == (4, 4)


@pytest.mark.parametrize("window", [0, (3,), (3, 3, 3), (3, 0), None, "33"])
def test_window_refuses(window):
    with pytest.raises(ValueError, match="argument `window`: expected"):
        standardize_window(window, 2)


@pytest.mark.parametrize("spacing", [2, 2.0, (2, 2.0), [2.0, 2], np.float32(2)])
def test_spacing(spacing):
    assert standardize_spacing(spacing, 2) == (2.0, 2.0)
    assert all(type(step) is float for step in standardize_spacing(spacing, 2))


@pytest.mark.parametrize(
    "spacing", [0, -1.0, (1.0,), (1, 2, 3), (1, 0), float("nan"), float("inf"), None, "12", ()]
)
def test_spacing_refuses(spacing):
    with pytest.raises(
        ValueError, match="`spacing`: expected a positive number or 2, one per axis"
    ):
        standardize_spacing(spacing, 2)


def test_one_of():
    assert check_one_of("kernel", "a", ("b", "a")) == "a"
    with pytest.raises(ValueError, match=r"`kernel`: expected one of \['a', 'b'\], received 'c'"):
        check_one_of("kernel", "c", ("b", "a"))


def test_channels_last(monkeypatch):
    check_channels_last("Layer")
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="Layer supports the image data format 'channels_last'"):
        check_channels_last("Layer")


def test_values_that_other_processes_hold_are_not_known():
    class Spread:
        """As an array of JAX of which other processes hold a part."""

        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("spans non-addressable devices")

    assert known_values(Spread(), "float32") is None
    np.testing.assert_array_equal(known_values(np.arange(2), "float32"), [0.0, 1.0])
