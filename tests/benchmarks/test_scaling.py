import keras
import pytest

from benchmarks.scaling import (
    Assumptions,
    all_reduce_seconds,
    forward_operations,
    rows,
    speedups,
    step_seconds,
)

HOSTS = Assumptions(
    images=2,
    teraflops=1.0,
    utilization=0.5,
    gpus_per_host=4,
    host_gbyte=10.0,
    network_gbit=8.0,
)


def test_a_step_is_three_forward_passes():
    assert step_seconds(1e9, HOSTS) == pytest.approx(3 * 2 * 1e9 / 0.5e12)


@pytest.mark.parametrize(
    ("num_gpus", "expected"),
    [
        (1, 0.0),
        (2, 1e9 / 10e9),  # 2 (2 - 1) / 2 of the bytes
        (4, 1.5e9 / 10e9),
        (8, 1.5e9 / 10e9 + 1e9 / 1e9),  # and a ring of two hosts
        (16, 1.5e9 / 10e9 + 1.5e9 / 1e9),
    ],
)
def test_rings(num_gpus, expected):
    assert all_reduce_seconds(1e9, num_gpus, HOSTS) == pytest.approx(expected)


def test_speedups():
    assert speedups(0.3, 0.1, 8) == pytest.approx((6.0, 8.0))
    assert speedups(0.1, 0.4, 8) == pytest.approx((1.6, 2.0))
    compute, table = rows(1e6, 1e9, HOSTS)
    assert compute == step_seconds(1e9, HOSTS)
    assert table[0] == (1, 0.0, 1.0, 1.0)
    assert [row[0] for row in table] == [1, 2, 4, 8, 16, 32, 64]


def test_operations_of_convolutions():
    image = keras.Input((6, 8, 3))
    x = keras.layers.Conv2D(5, 3, strides=2, padding="same")(image)  # 3x4 outputs
    x = keras.layers.Activation("relu")(x)
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(x))
    assert forward_operations(model) == 2 * 12 * (9 * 3 * 5) + 2 * 12 * (5 * 2)
