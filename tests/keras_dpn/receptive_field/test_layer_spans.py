import pytest
from keras import layers

from keras_dpn.layers import DeepParsingField
from keras_dpn.receptive_field import looks_at


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(1, 3, padding="same"), (1, 4)),
        (layers.Conv2D(1, (3, 9), strides=(2, 1)), (4, 8)),
        (layers.DepthwiseConv2D(3, dilation_rate=2), (2, 7)),
        (layers.MaxPooling2D(2), (4, 7)),
        (layers.ZeroPadding2D(1), (1, 2)),
        (layers.Cropping2D(((5, 0), (0, 0))), (7, 8)),
        (layers.UpSampling2D(2), (1, 1)),
        (layers.ReLU(), (2, 3)),
        (layers.Softmax(axis=-1), (2, 3)),
        (layers.Softmax(axis=1), None),
        (layers.GlobalAveragePooling2D(), None),
    ],
)
def test_rows_2_and_3_look_at(layer, expected):
    assert looks_at(layer, 0, 2, 3, 20, 20) == expected


def test_types_of_ones_own_can_be_registered():
    class Skip(layers.Layer):
        pass

    assert looks_at(Skip(), 0, 2, 3, 20, 20) is None
    looks_at.register(Skip, lambda layer, axis, first, last, n_in, n_out: (first + 1, last + 1))
    assert looks_at(Skip(), 0, 2, 3, 20, 20) == (3, 4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (2 - 1 - 2, 3 + 1 + 1)),
        ({"num_iterations": 2}, (2 - 2 * 3, 3 + 2 * 2)),
        ({"pairwise": "triple"}, (2 - 2, 3 + 1)),
        ({"pairwise": "triple", "window": 1, "stride": 2}, (0, 5)),  # of cells 0 to 2
        ({"window": (50, 4), "context_window": (9, 3)}, (2 - 4 - 25, 3 + 4 + 24)),
    ],
)
def test_a_field_looks_at(settings, expected):
    field = DeepParsingField(**{"window": 4, "context_window": 3, **settings})
    assert looks_at(field, 0, 2, 3, 20, 20) == expected
