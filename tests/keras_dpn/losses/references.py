"""The losses as they are defined, in float64, over lists of pixels that all count."""

import functools

import keras
import numpy as np

from tests.keras_dpn.support import direct_softmax, gradients, jitted


def direct_cross_entropy(labels, logits, weights):
    weight = np.asarray(weights)[labels]
    return np.sum(weight * -_log_probabilities(labels, logits)) / max(weight.sum(), 1e-9)


def direct_focal(labels, logits, weights, gamma=2.0):
    log_p, weight = _log_probabilities(labels, logits), np.asarray(weights)[labels]
    losses = (1 - np.exp(log_p)) ** gamma * -log_p
    return np.sum(weight * losses) / max(weight.sum(), 1e-9)


def direct_tversky(labels, logits, weights, alpha=0.3, beta=0.7):
    def loss(truth, p):
        hits = np.sum(truth * p)
        added, missed = np.sum((1 - truth) * p), np.sum(truth * (1 - p))
        return 1 - hits / (hits + alpha * added + beta * missed)

    return _mean_over_classes(loss, labels, logits, weights)


def direct_dice(labels, logits, weights):
    return direct_tversky(labels, logits, weights, 0.5, 0.5)


def direct_jaccard(labels, logits, weights):
    return direct_tversky(labels, logits, weights, 1.0, 1.0)


def direct_lovasz(labels, logits, weights):
    """Algorithm 1: differences of the Jaccard loss of growing sets of wrong pixels."""

    def loss(truth, p):
        errors = np.abs(truth - p)
        order, total, before, wrong = np.argsort(-errors), 0.0, 0.0, np.zeros(len(p), bool)
        for i in order:
            wrong[i] = True
            found = (truth == 1) & ~wrong
            union = (truth == 1) | wrong
            after = 1 - found.sum() / union.sum()
            total += errors[i] * (after - before)
            before = after
        return total

    return _mean_over_classes(loss, labels, logits, weights)


def _log_probabilities(labels, logits):
    return np.log(direct_softmax(np.asarray(logits, "float64")))[np.arange(len(labels)), labels]


def _mean_over_classes(loss, labels, logits, weights):
    """Of the classes that occur."""
    p = direct_softmax(np.asarray(logits, "float64"))
    classes = np.unique(labels)
    if not len(classes):
        return 0.0
    losses = [loss((labels == c).astype("float64"), p[:, c]) for c in classes]
    return np.average(losses, weights=np.asarray(weights)[classes])


def one_hot(labels, num_classes):
    return np.eye(num_classes, dtype="float32")[labels]


@functools.cache
def compiled(cls, weights=None, xla=False):
    """A loss and its gradient by logits of five classes as one compiled function, of any sizes."""
    loss = cls(class_weights=weights)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(lambda y, x: jax.value_and_grad(lambda x: loss(y, x))(x))
    if keras.backend.backend() == "torch":  # step by step
        return lambda y, x: (loss(y, x), gradients(lambda x: loss(y, x), x)[0])
    import tensorflow as tf

    sizes = (None, None, None)
    signature = tf.TensorSpec(sizes), tf.TensorSpec((*sizes, 5))

    @tf.function(jit_compile=xla, input_signature=signature)
    def run(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits)
        return value, tape.gradient(value, logits)

    return lambda y, x: run(tf.constant(y, "float32"), tf.constant(x, "float32"))


def eager(loss):
    """A loss of labels and logits whose labels are known: JAX compiles the rest around them."""
    return lambda labels, logits: jitted(lambda x: loss(labels, x))(logits)
