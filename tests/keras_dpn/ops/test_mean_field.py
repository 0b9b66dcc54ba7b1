import keras
import numpy as np

from keras_dpn import ops
from tests.keras_dpn.support import assert_close, direct_softmax, random


def test_the_update_by_hand():
    unary = np.log([[[0.5, 0.25, 0.25]]]).astype("float32")
    costs = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 4.0, 0.0]], "float32")
    out = ops.mean_field_update(unary, unary, lambda q: keras.ops.matmul(q, costs))
    # q = 1/2, 1/4, 1/4 costs the labels 1/2, 1 and 1.
    assert_close(out, unary - np.array([0.5, 1.0, 1.0]))


def test_marginals_are_those_of_the_logits():
    unary, logits = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1, low=-9.0, high=9.0)
    seen = []
    ops.mean_field_update(unary, logits, lambda q: seen.append(q) or 0.0 * q)
    assert_close(seen[0], direct_softmax(logits), rtol=1e-4)


def test_a_point_that_agrees_with_itself_gets_surer():
    logits = unary = np.array([[[0.0, 1.0]]], "float32")
    for _ in range(20):
        logits = ops.mean_field_update(unary, logits, lambda q: -3.0 * q)
    q = 0.99
    for _ in range(50):  # the fixed point of q = sigmoid(1 + 3 (q - (1 - q)))
        q = 1 / (1 + np.exp(-(1 + 3 * (2 * q - 1))))
    assert_close(keras.ops.softmax(logits)[0, 0, 1], q, rtol=1e-4)


def test_heads_of_the_parsing_field():
    unary = random(1, 3, 2, 4, low=-2.0, high=2.0)
    heads = ops.parsing_field_logits(unary, lambda q: 2 * q, lambda o12: o12 + 1, num_iterations=2)
    assert list(heads) == ["unary", "triple", "contexts", "final"]
    q = direct_softmax(unary)
    assert_close(heads["triple"], unary - 2 * q)
    assert_close(heads["contexts"], unary - 2 * q - 1)
    assert_close(heads["final"], unary - 2 * direct_softmax(unary - 2 * q - 1) - 1, rtol=1e-4)
