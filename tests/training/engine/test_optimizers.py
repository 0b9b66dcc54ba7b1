import math

import keras
import numpy as np
import pytest

from training.configs.schema import StageConfig
from training.engine.optimizers import averaged_weights, build_optimizer, forget_steps


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
        (
            StageConfig(epochs=2, learning_rate=1.0, schedule="cosine"),
            {0: 1.0, 5: (1 + math.sqrt(0.5)) / 2, 10: 0.5, 20: 0.0},  # (1 + cos(pi t / 20)) / 2
        ),
        (
            StageConfig(epochs=2, learning_rate=0.4, schedule="constant", warmup_steps=4),
            {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.4, 19: 0.4},
        ),
        (
            StageConfig(epochs=2, learning_rate=1.0, power=1.0, warmup_steps=10),
            {0: 0.1 * 1.0, 4: 0.5 * 0.8, 9: 1.0 * 0.55, 10: 0.5, 20: 0.0},
        ),
    ],
)
def test_schedules(config, expected):
    optimizer = build_optimizer(config, 10, model().trainable_variables)
    for iteration, rate in expected.items():
        optimizer.iterations.assign(iteration)
        assert float(optimizer.learning_rate) == pytest.approx(rate)


def test_accumulated_steps_warm_up_by_updates():
    config = StageConfig(
        optimizer="sgd", schedule="constant", learning_rate=1.0, accumulate=2, warmup_steps=2
    )
    net = model()
    optimizer = build_optimizer(config, 4, net.trainable_variables)
    moved = []
    for _ in range(6):
        before = np.array(net.trainable_variables[1])
        optimizer.apply([keras.ops.ones(w.shape) for w in net.trainable_variables])
        moved.append(float((before - net.trainable_variables[1])[0]))
    momentum = [0.5, 0.9 * 0.5 + 1.0, 0.9 * (0.9 * 0.5 + 1.0) + 1.0]
    np.testing.assert_allclose(moved, [0, momentum[0], 0, momentum[1], 0, momentum[2]], rtol=1e-6)


@pytest.mark.parametrize("schedule", ["poly", "cosine", "constant"])
def test_a_rate_is_no_variable(schedule):
    """A checkpoint's variables would bring the old rate back, and not fit another schedule."""
    old = StageConfig(epochs=1, optimizer="sgd", schedule="constant", learning_rate=1.0)
    new = StageConfig(epochs=1, optimizer="sgd", schedule=schedule, learning_rate=0.25)
    before, after = (build_optimizer(c, 10, model().trainable_variables) for c in (old, new))
    for theirs, ours in zip(before.variables, after.variables, strict=True):
        ours.assign(theirs)
    assert float(before.learning_rate) == 1.0 and float(after.learning_rate) == 0.25


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("scaled", [False, True])
def test_averages_are_those_of_the_updates(accumulate, scaled):
    """w1, then half the average and half the weights; steps between updates count for nothing."""
    config = StageConfig(
        optimizer="sgd",
        momentum=0.0,
        schedule="constant",
        learning_rate=1.0,
        weight_decay=0.0,
        ema_momentum=0.5,
        accumulate=accumulate,
    )
    net = model()
    optimizer = build_optimizer(config, 6, net.trainable_variables)
    if scaled:  # as half precision has it
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    bias = net.layers[0].bias  # begins with 0
    bias.assign([4.0, 0.0])
    for gradient in (1.0, 2.0, -4.0):
        for _ in range(accumulate):
            optimizer.apply(
                [gradient * keras.ops.ones(w.shape) for w in net.trainable_variables],
                net.trainable_variables,
            )
    np.testing.assert_array_equal(bias, [5.0, 1.0])  # after 3 and 1: 4 - 1, 3 - 2, 1 + 4
    with averaged_weights(optimizer):
        # (3 / 2 + 1 / 2) / 2 + 5 / 2, and 4 less.
        np.testing.assert_array_equal(bias, [3.5, -0.5])
    np.testing.assert_array_equal(bias, [5.0, 1.0])


def test_weights_come_back_bit_by_bit_whatever_happens():
    config = StageConfig(epochs=1, learning_rate=0.1, ema_momentum=0.9)
    net = model()
    optimizer = build_optimizer(config, 10, net.trainable_variables)
    rng = np.random.default_rng(0)
    for _ in range(3):
        optimizer.apply(
            [keras.ops.array(rng.normal(size=w.shape), "float32") for w in net.trainable_variables]
        )
    before = net.get_weights()
    with pytest.raises(KeyboardInterrupt), averaged_weights(optimizer):
        assert not np.array_equal(net.get_weights()[0], before[0])
        raise KeyboardInterrupt
    for ours, theirs in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_averages_weights_stay_in_place():
    net = model()
    optimizer = build_optimizer(StageConfig(epochs=1), 10, net.trainable_variables)
    before = net.get_weights()
    with averaged_weights(optimizer):
        np.testing.assert_array_equal(net.get_weights()[0], before[0])
