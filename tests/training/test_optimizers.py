import keras
import numpy as np
import pytest

from training.configs.base import StageConfig
from training.optimizers import build_optimizer, forget_steps


def model():
    net = keras.Sequential(
        [
            keras.layers.Dense(2, name="b1_conv1"),
            keras.layers.Dense(2, name="b9"),
        ]
    )
    net.build((None, 2))
    return net


def step(config, net, value=1.0):
    """What one step with a constant gradient adds to each weight."""
    optimizer = build_optimizer(config, 10, net.trainable_variables)
    optimizer.build(net.trainable_variables)
    before = [np.array(w) for w in net.trainable_variables]
    gradients = [keras.ops.full(w.shape, value) for w in net.trainable_variables]
    optimizer.apply(gradients, net.trainable_variables)
    return before, [np.array(w) - b for w, b in zip(net.trainable_variables, before, strict=True)]


def test_layers_have_their_own_rates():
    config = StageConfig(
        optimizer="sgd",
        schedule="constant",
        learning_rate=0.1,
        weight_decay=0.0,
        layer_rates={"b9|b10": 3.0, "b.*": 2},
    )
    _, moved = step(config, model())
    np.testing.assert_allclose(moved[0], -0.2, rtol=1e-6)
    np.testing.assert_allclose(moved[2], -0.6, rtol=1e-6)


def test_adamw_scales_its_step_not_its_gradient():
    config = StageConfig(
        schedule="constant", learning_rate=0.1, weight_decay=0.0, layer_rates={"b9": 0.5}
    )
    _, moved = step(config, model())
    np.testing.assert_allclose(moved[0], 2 * moved[2][0, 0], rtol=1e-4)


def test_sgd_has_an_l2_penalty_on_kernels_alone():
    config = StageConfig(optimizer="sgd", schedule="constant", learning_rate=0.1, weight_decay=0.01)
    before, moved = step(config, model(), value=0.0)
    np.testing.assert_allclose(moved[0], -0.1 * 0.01 * before[0], rtol=1e-3)
    assert not moved[1].any()


def test_adamw_decays_kernels_alone():
    config = StageConfig(schedule="constant", learning_rate=0.1, weight_decay=0.01)
    before, moved = step(config, model(), value=0.0)
    np.testing.assert_allclose(moved[0], -0.1 * 0.01 * before[0], rtol=1e-3)
    assert not moved[1].any()


def test_long_gradients_are_clipped_together():
    config = StageConfig(
        optimizer="sgd", schedule="constant", learning_rate=1.0, weight_decay=0.0, clip_norm=0.5
    )
    _, moved = step(config, model(), value=100.0)
    assert np.sqrt(sum(np.sum(m**2) for m in moved)) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_updates_go_by_the_mean_gradient_of_several_steps(kind):
    """Rate, momentum, decay and clipping are once an update."""

    def train(values, accumulate):
        config = StageConfig(
            optimizer=kind, epochs=2, learning_rate=0.1, clip_norm=1.0, accumulate=accumulate
        )
        keras.utils.set_random_seed(1)
        net = model()
        optimizer = build_optimizer(config, len(values) // 2, net.trainable_variables)
        found = []
        for value in values:
            gradients = [keras.ops.full(w.shape, value) for w in net.trainable_variables]
            optimizer.apply(gradients, net.trainable_variables)
            found.append([*net.get_weights(), optimizer.iterations, optimizer.learning_rate])
        return found

    values = np.random.default_rng(0).normal(size=12)
    large, small = train(values.reshape(4, 3).mean(1), 1), train(values, 3)
    for expected, found in zip(large, small[2::3], strict=True):
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)
    for before, found in zip(small[2::3], small[3::3], strict=False):
        for a, b in zip(before, found, strict=True):
            np.testing.assert_array_equal(a, b)


def test_steps_since_the_last_update_can_be_forgotten():
    config = StageConfig(optimizer="sgd", schedule="constant", learning_rate=1.0, accumulate=2)
    net = model()
    optimizer = build_optimizer(config, 4, net.trainable_variables)
    for value in (5.0, None, 1.0, 1.0):
        before = np.array(net.trainable_variables[1])
        if value is None:
            forget_steps(keras.optimizers.LossScaleOptimizer(optimizer))
            continue
        optimizer.apply([keras.ops.full(w.shape, value) for w in net.trainable_variables])
    np.testing.assert_allclose(net.trainable_variables[1] - before, -1.0)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (StageConfig(epochs=2, learning_rate=1.0, power=1.0), {0: 1.0, 10: 0.5, 20: 0.0}),
        (StageConfig(epochs=4, learning_rate=1.0, schedule="step"), {0: 1, 19: 1, 20: 0.1}),
        (
            StageConfig(epochs=3, learning_rate=1.0, schedule="exponential", decay=0.9),
            {0: 1, 9: 1, 10: 0.9, 20: 0.81},
        ),
        (StageConfig(epochs=2, learning_rate=0.3, schedule="constant"), {0: 0.3, 15: 0.3}),
    ],
)
def test_schedules(config, expected):
    optimizer = build_optimizer(config, 10, model().trainable_variables)
    for iteration, rate in expected.items():
        optimizer.iterations.assign(iteration)
        assert float(optimizer.learning_rate) == pytest.approx(rate)
