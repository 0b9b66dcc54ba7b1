"""The connection between the processes that train one network: JAX's coordination service."""

import contextlib
import itertools
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import keras

HEARTBEAT_SECONDS = 40
"""A process that is silent for so long is taken for dead, and the others end."""
AUTO = "auto"
"""The coordinator of processes that JAX finds by itself."""

_CONNECT_SECONDS = 300
_FAREWELL_SECONDS = 10
_CAUSE_SECONDS = 3
_LONGEST_WAIT = 7 * 24 * 3600 * 1000  # ms
_ERROR, _ENDED = "keras_dpn/error", "keras_dpn/ended/"  # keys in the coordination service
# In the errors, of several types, of operations whose other side has ended.
_LOST = ("gloo", "nccl", "coordination", "heartbeat", "unavailable:", "deadline_exceeded")


class Cluster:
    """The connection to the other processes."""

    def __init__(self) -> None:
        from jax._src import distributed  # no public way to barriers and values (JAX 0.10)

        state = distributed.global_state
        self.index, self.count = state.process_id, state.num_processes
        self.client: Any = state.client
        self.has_ended = threading.Event()
        self._calls = itertools.count()  # the same on all processes, which make the same calls

    def barrier(self) -> None:
        self.client.wait_at_barrier(f"keras_dpn/{next(self._calls)}", _LONGEST_WAIT)

    def share(self, value: Any) -> Any:
        """Return the chief's JSON value on all processes."""
        key = f"keras_dpn/value/{next(self._calls)}"
        if self.index == 0:
            self.client.key_value_set(key, json.dumps(value))
        value = json.loads(self.client.blocking_key_value_get(key, _LONGEST_WAIT))
        self.barrier()
        if self.index == 0:
            self.client.key_value_delete(key)
        return value

    def watch(self) -> None:
        """End this process as soon as another one has failed, wherever it waits."""
        while not self.has_ended.wait(1):
            failure = self._failure()
            if failure and not self.has_ended.is_set():
                self._end(failure)

    def fail(self, error: BaseException, report: Callable[[BaseException], int]) -> None:
        """Report an error and end all processes."""
        self.has_ended.set()
        if _is_lost(error):
            failure = self._failure(seconds=_CAUSE_SECONDS)  # why the other process has ended
            if failure:
                self._end(failure)
            error = ConnectionError(
                f"lost the connection to another process ({_first_line(error)}). Start all "
                "processes again with --resume."
            )
        code = report(error)
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failure = {"process": self.index, "message": message, "code": code}
        with contextlib.suppress(Exception):  # another process has failed too, or the coordinator
            self.client.key_value_set(_ERROR, json.dumps(failure))
        self._end(failure)

    def _failure(self, seconds: float = 0) -> dict[str, Any] | None:
        """Return what the first process that failed has said, waiting for it so long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return json.loads(self.client.key_value_try_get(_ERROR))
            except Exception:  # none has, or the coordinator has ended: then JAX ends this process
                if time.monotonic() >= deadline:
                    return None
                time.sleep(0.2)

    def _end(self, failure: dict[str, Any]) -> None:
        """End this process; the chief, which has the coordinator, after the others."""
        if failure["process"] != self.index:
            print(f"process {failure['process']}: {failure['message']}", file=sys.stderr)
        with contextlib.suppress(Exception):
            self.client.key_value_set(f"{_ENDED}{self.index}", "")
            deadline = time.monotonic() + _FAREWELL_SECONDS
            while self.index == 0 and time.monotonic() < deadline:
                if len(self.client.key_value_dir_get(_ENDED)) == self.count:
                    time.sleep(1)
                    break
                time.sleep(0.2)
        sys.stdout.flush()
        sys.stderr.flush()
        logging.shutdown()
        # Not by sys.exit: JAX would wait for the others, which have ended.
        os._exit(failure["code"])


def check_settings(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Raise a ValueError for options of the command that don't fit together."""
    numbers = (num_processes, process_id)
    if coordinator is None or coordinator == AUTO:
        if numbers != (None, None):
            raise ValueError(
                "Expected --num-processes and --process-id together with --coordinator HOST:PORT, "
                f"received --coordinator {coordinator}."
            )
        if coordinator is None:
            return
    elif None in numbers or not 0 <= (process_id or 0) < (num_processes or 0):
        raise ValueError(
            "Expected --num-processes N and --process-id from 0 to N - 1 with --coordinator, "
            f"received {num_processes} and {process_id}."
        )
    elif not coordinator.rpartition(":")[0] or not coordinator.rpartition(":")[2].isdecimal():
        raise ValueError(
            f"Invalid value for argument `coordinator`: expected HOST:PORT or {AUTO}, received "
            f"{coordinator!r}."
        )
    if keras.backend.backend() != "jax":
        raise ValueError(
            "Several processes train on Keras's JAX backend alone: set KERAS_BACKEND=jax; received "
            f"{keras.backend.backend()}."
        )


def connect(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Find the other processes, before JAX computes anything; OSError if that fails."""
    import jax

    # It catches SIGTERM, for programs that then write a checkpoint; this one would not end.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=_CONNECT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except Exception as error:  # of many types
        raise OSError(
            f"The processes don't find each other, --coordinator {coordinator or AUTO}: "
            f"{_first_line(error)}"
        ) from error


def _is_lost(error: BaseException) -> bool:
    return not isinstance(error, OSError) and any(word in str(error).lower() for word in _LOST)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
