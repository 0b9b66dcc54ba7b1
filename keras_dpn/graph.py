"""The graph of a functional model, and models for inputs of many sizes."""

import contextlib
from collections.abc import Iterable
from graphlib import TopologicalSorter
from typing import Any, TypeVar

import keras

Model = TypeVar("Model", bound=keras.Model)


def graph_nodes(outputs: Iterable[Any]) -> list[Any]:
    """Return the calls of layers and operations that compute tensors, in topological order.

    Args:
        outputs: tensors of a functional model.

    Returns:
        List of Keras's nodes, each with its `operation`, `input_tensors` and `output_tensors`.

    Example:

    >>> image = keras.Input((None, None, 3))
    >>> x = keras.layers.Conv2D(4, 3, name="conv")(image)
    >>> [node.operation.name for node in graph_nodes([x])][1:]
    ['conv']
    """
    predecessors, waiting = {}, [_node_of(tensor) for tensor in outputs]
    while waiting:
        node = waiting.pop()
        if node not in predecessors:
            predecessors[node] = node.parent_nodes
            waiting.extend(node.parent_nodes)
    return list(TopologicalSorter(predecessors).static_order())


def _node_of(tensor: Any) -> Any:
    history = tensor._keras_history  # Keras has no public way from a tensor to its layer (3.15.1)
    return history.operation._inbound_nodes[history.node_index]


def is_functional(model: Any) -> bool:
    """Return whether a model is a functional graph from one input to one output."""
    try:
        return len(model.inputs) == len(model.outputs) == 1
    except (AttributeError, ValueError):  # a subclass of keras.Model; a Sequential that isn't built
        return False


def for_any_size(model: Model) -> Model:
    """Keep XLA from compiling a model for inputs of many sizes; return the model.

    On a GPU Keras compiles with XLA by itself (`jit_compile="auto"`), anew for each size, which
    takes seconds and memory, where TensorFlow has one graph for all sizes. Padding to a few sizes
    would spare the compilation but change what networks see at the image's border. On JAX nothing
    changes: without `jit` it would compile each operation anew for each size.
    """
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = False
    return model


def trace_for_any_size(model: Model) -> Model:
    """Trace a functional model's `predict_on_batch` for single images of any size; return it.

    TensorFlow would trace the first size with static shapes and all others with a second graph,
    and the two round differently: probabilities of an image would depend, by about 1e-6, on which
    image came first. A model with a layer that needs static shapes is left as it is, as are models
    on the other backends.
    """
    if keras.backend.backend() != "tensorflow":
        return model
    import tensorflow as tf

    model = for_any_size(model)
    if not tf.config.functions_run_eagerly():
        model.make_predict_function()
        batch = keras.tree.map_structure(
            # float32 whatever the precision: the model itself casts.
            lambda x: tf.TensorSpec((1, *x.shape[1:]), "float32"),
            model.inputs[0] if len(model.inputs) == 1 else list(model.inputs),
        )
        # Such as Keras 3.15's bilinear UpSampling2D. Any other error comes back in the call.
        with contextlib.suppress(Exception):
            model.predict_function.get_concrete_function([(batch,)])
    return model


def is_compiled_by_xla() -> bool:
    """Return whether TensorFlow traces operations at the moment that XLA compiles.

    Some operations have no XLA kernel, or one with other results.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # TensorFlow has no public name for it; Keras asks the same.
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    if tf.executing_eagerly():
        return False
    return bool(GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))
