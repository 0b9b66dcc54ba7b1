"""Copies of networks that compute in another precision."""

import keras

from keras_dpn.models.preset import dtype_policy


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """Return a copy of a model that computes in another precision, with the same weights.

    In half precision ("mixed_bfloat16", "mixed_float16") hardware that supports it is several times
    faster, and a forward pass takes about half the memory. Layers that the network fixes to
    float32, such as its last ones, stay in float32.

    Args:
        model: one of `keras_dpn.models`, or any whose configuration doesn't fix the precision.
        policy: name of a dtype policy of Keras.

    Raises:
        ValueError: if the policy is unknown, or the model's configuration fixes the precision, as
            in functional models.
    """
    with dtype_policy(policy):
        copy = type(model).from_config(model.get_config())
    wanted = keras.dtype_policies.get(policy).compute_dtype
    if all(layer.compute_dtype != wanted for layer in copy.layers if layer.weights):
        raise ValueError(
            f"Invalid value for argument `model`: expected one that can compute in {wanted}, but "
            f"the configuration of {model.name!r} fixes its layers' precision."
        )
    copy.set_weights(model.get_weights())
    return copy
