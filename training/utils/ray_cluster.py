"""Run on a Ray cluster; Ray is imported here and nowhere else, when a command asks for it."""

import importlib
import logging
import math
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from .counts import counted
from .installation import install_command

T = TypeVar("T")
R = TypeVar("R")

# Paths and results alone pass through the object store, not images.
_OBJECT_STORE_BYTES = 200 * 2**20
_MAP_BLOCK = 64


@dataclass(frozen=True)
class ClusterOptions:
    """Workers of a Ray cluster.

    Args:
        address: "local" for a cluster of this machine that lives as long as the command, "auto" for
            the one that this machine belongs to, or host:port of another's head.
        workers: number of worker processes; None for as many as the cluster has processors for.
        cpus: processors, and threads of the network, of each.
        gpus: GPUs of each.

    Raises:
        ValueError: for less than one worker or processor, or a negative number of GPUs.
    """

    address: str
    workers: int | None = None
    cpus: int = 1
    gpus: int = 0

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--workers", self.workers, 1),
            ("--worker-cpus", self.cpus, 1),
            ("--worker-gpus", self.gpus, 0),
        ):
            if value is not None and value < least:
                raise ValueError(f"{option}: expected {least} or more, received {value}.")


@contextmanager
def connect(options: ClusterOptions) -> Iterator[Any]:
    """Connect to a cluster while the block runs, and yield the module `ray`.

    A connection that exists is used, and kept.

    Raises:
        ValueError: if Ray isn't installed.
        OSError: if there is no cluster at the address.
    """
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError:
        raise ValueError(f"--ray needs Ray: {install_command('ray')}.") from None
    is_own = not ray.is_initialized()
    if is_own:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if options.address == "local":
            settings |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
        ray.init(address=options.address, **settings)
    try:
        yield ray
    finally:
        if is_own:
            ray.shutdown()


def number_of_workers(options: ClusterOptions, ray: Any) -> int:
    """Return how many workers to start.

    A worker doesn't span nodes: each node holds as many as it has processors and GPUs for.

    Raises:
        ValueError: if the cluster can't hold them: they would wait for ever.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fitting = sum(_fit(node, options) for node in nodes)
    wanted = options.workers or fitting
    if wanted > fitting or not fitting:
        each = f"{options.cpus} processors and {options.gpus} GPUs"
        nodes_found = counted(len(nodes), "node")
        raise ValueError(
            f"--workers: {max(wanted, 1)} of {each} don't fit into the cluster, which holds "
            f"{fitting} on {nodes_found}. Lower --workers, --worker-cpus or --worker-gpus."
        )
    return wanted


def _fit(node: dict[str, float], options: ClusterOptions) -> int:
    by_cpus = node.get("CPU", 0) / options.cpus
    by_gpus = node.get("GPU", 0) / options.gpus if options.gpus else math.inf
    return math.floor(min(by_cpus, by_gpus))


def run_blocks(
    ray: Any,
    options: ClusterOptions,
    workers: int,
    worker: type,
    arguments: tuple[Any, ...],
    blocks: Sequence[Sequence[Any]],
) -> Iterator[Any]:
    """Yield what workers return about blocks of items, in any order.

    A block whose worker dies is left out: Ray's defaults would send it again for ever. The worker
    is started again.

    Args:
        ray: from `connect`.
        options: the cluster.
        workers: how many to start.
        worker: class of the workers, constructed once in each of their processes; called with
            {"item": an array of a block's items}, it returns an Arrow table with the column "row".
        arguments: of its constructor.
        blocks: strings or bytes that a worker is sent at once.
    """
    import pyarrow

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the caller sees what is left out
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars, context.max_errored_blocks
    context.enable_progress_bars, context.max_errored_blocks = False, -1
    # With large blocks, one is sent before the last is done. A single item must not die with
    # another.
    ahead = 2 if any(len(block) > 1 for block in blocks) else 1
    try:
        items = ray.data.from_arrow([pyarrow.table({"item": list(block)}) for block in blocks])
        rows = items.map_batches(
            worker,
            fn_constructor_args=arguments,
            batch_size=None,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=ahead),
            num_cpus=options.cpus,
            num_gpus=options.gpus,
            max_restarts=-1,
            max_task_retries=0,
        )
        for row in rows.iter_rows():
            yield row["row"]
    finally:
        context.enable_progress_bars, context.max_errored_blocks = before


class ClusterPool:
    """Maps functions over items in the processes of a cluster; a context manager.

    Args:
        options: the cluster.
    """

    def __init__(self, options: ClusterOptions) -> None:
        self._options, self._stack = options, ExitStack()

    def __enter__(self) -> "ClusterPool":
        self._ray = self._stack.enter_context(connect(self._options))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield the results, in the order of the items.

        Items whose process dies are sent once more, one by one.

        Args:
            function: sent once to each process, with what it holds.
            items: anything that can be pickled.

        Raises:
            Exception: whatever `function` raises, when its item's turn comes.
            OSError: if a process dies of an item again.
        """
        waiting = dict(enumerate(items))
        if not waiting:
            return
        workers = number_of_workers(self._options, self._ray)
        size = max(1, min(_MAP_BLOCK, len(waiting) // (2 * workers)))
        found: dict[int, tuple[R | None, Exception | None]] = {}
        turn = 0
        # Datasets have lambdas, which pickle refuses.
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        arguments = (self._ray.cloudpickle.dumps(function), backend)
        for length in (size, 1):
            pickled = [pickle.dumps(item) for item in waiting.items()]
            blocks = [pickled[i : i + length] for i in range(0, len(pickled), length)]
            for row in run_blocks(
                self._ray, self._options, min(workers, len(blocks)), _Mapper, arguments, blocks
            ):
                index, result, error = pickle.loads(row)
                del waiting[index]
                found[index] = result, error
                while turn in found:
                    yield _result(*found.pop(turn))
                    turn += 1
            if not waiting:
                return
        first = next(iter(waiting.values()))
        raise OSError(
            f"A worker died twice, of lack of memory or in a decoder, with {first} (and "
            f"{len(waiting) - 1} others)."
        )


class _Mapper:
    """A worker that calls a function with each item."""

    def __init__(self, function: bytes, backend: str) -> None:
        os.environ["KERAS_BACKEND"] = backend
        self._function = pickle.loads(function)

    def __call__(self, batch: dict[str, Any]) -> Any:
        import pyarrow

        rows = [pickle.dumps(self._called(*pickle.loads(item))) for item in batch["item"]]
        return pyarrow.table({"row": rows})

    def _called(self, index: int, item: Any) -> tuple[int, Any, Exception | None]:
        try:
            return index, self._function(item), None
        except Exception as error:
            return index, None, error


def _result(result: Any, error: Exception | None) -> Any:
    if error is not None:
        raise error
    return result
