"""The processes that train one network together: one, or several that JAX connects.

The rest of the package asks this module which part a process has. Only process 0, the chief, reads
and writes the work directory. While the chief works the others wait at a barrier of JAX's
coordination service, which has no time limit of its own as collective operations have.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from .cluster import AUTO, Cluster, check_settings, connect

_LOGGER = logging.getLogger("keras_dpn")

_cluster: Cluster | None = None


@contextmanager
def connected(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    report: Callable[[BaseException], int],
) -> Iterator[None]:
    """Connect the processes of a run for the block; an error on one ends all of them.

    Args:
        coordinator: HOST:PORT of process 0; "auto", JAX finds all processes by itself; None, there
            is one process.
        num_processes: how many there are.
        process_id: which one this is, from 0.
        report: prints an error and returns the exit code.

    Raises:
        ValueError: for settings that don't fit together, and another backend than JAX.
        OSError: if the processes don't find each other.
    """
    check_settings(coordinator, num_processes, process_id)
    if coordinator is None:
        yield
        return
    global _cluster
    connect(None if coordinator == AUTO else coordinator, num_processes, process_id)
    _cluster = cluster = Cluster()
    watcher = threading.Thread(target=cluster.watch, daemon=True)
    watcher.start()
    _LOGGER.info("process %d of %d", cluster.index, cluster.count)
    logged = _LOGGER.level
    if cluster.index:
        _LOGGER.setLevel(max(logged, logging.WARNING))
    try:
        yield
        cluster.barrier()
    except BaseException as error:
        cluster.fail(error, report)
        raise
    finally:
        _LOGGER.setLevel(logged)
        cluster.has_ended.set()
        _cluster = None
    import jax

    watcher.join()
    jax.distributed.shutdown()


def index() -> int:
    """Return the number of this process."""
    return _cluster.index if _cluster else 0


def count() -> int:
    """Return the number of processes."""
    return _cluster.count if _cluster else 1


def is_chief() -> bool:
    """Return whether this is process 0, which reads and writes the work directory."""
    return index() == 0


def barrier() -> None:
    """Wait until all processes have come here."""
    if _cluster:
        _cluster.barrier()


def on_chief(function: Callable[[], Any]) -> None:
    """Call a function on process 0, without the distribution; the others wait until it is done."""
    if is_chief():
        with alone():
            function()
    barrier()


def from_chief(function: Callable[[], Any]) -> Any:
    """Call a function as `on_chief` does, and return its value, JSON, on all processes."""
    values: list[Any] = []
    on_chief(lambda: values.append(function()))
    return _cluster.share(values[0] if values else None) if _cluster else values[0]


def broadcast(values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays of process 0 on all processes.

    Args:
        values: arrays; those of the other processes only say their shapes.
    """
    if _cluster is None or not values:
        return list(values)
    from jax.experimental import multihost_utils

    _cluster.barrier()
    return list(multihost_utils.broadcast_one_to_all(list(values)))


@contextmanager
def alone() -> Iterator[None]:
    """Compute on this process alone in the block.

    Keras makes variables under the active distribution, a collective operation, when it loads or
    saves a model (3.15.1): on one process that hangs.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        yield
        return
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def local_copy(model: keras.Model) -> keras.Model:
    """Return a copy of a network on this process alone; the network itself if it is not spread."""
    if keras.distribution.distribution() is None:
        return model
    with alone():
        copy = type(model).from_config(model.get_config())
        copy.set_weights(model.get_weights())
    return copy
