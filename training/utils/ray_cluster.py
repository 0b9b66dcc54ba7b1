"""Connect to a Ray cluster; Ray is imported here and nowhere else, when a command asks for it."""

import importlib
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Paths and results alone pass through the object store, not images.
_OBJECT_STORE_BYTES = 200 * 2**20


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
        raise ValueError("--ray needs Ray: pip install 'keras-dpn[ray]'.") from None
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
        raise ValueError(
            f"--workers: {max(wanted, 1)} of {each} don't fit into the cluster, which holds "
            f"{fitting} on {len(nodes)} nodes. Lower --workers, --worker-cpus or --worker-gpus."
        )
    return wanted


def _fit(node: dict[str, float], options: ClusterOptions) -> int:
    by_cpus = node.get("CPU", 0) / options.cpus
    by_gpus = node.get("GPU", 0) / options.gpus if options.gpus else math.inf
    return math.floor(min(by_cpus, by_gpus))
