"""Predict on the workers of a Ray cluster: `keras-dpn predict --ray`.

Ray Data moves the names of the inputs to the workers, and what became of them back; each worker
reads its inputs and writes their results by itself, with the same functions as one process alone.
So neither an image nor a result is ever in the object store, and no task competes with the workers
for the processors.
"""

import contextlib
import json
import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..rundir.outputs import Outputs
from ..utils.progress import progress_bar
from ..utils.ray_cluster import ClusterOptions, connect, number_of_workers, run_blocks
from .remote import Source
from .results import FileResult, Kind
from .settings import PredictionJob
from .sources import Sources
from .worker import Worker, pack_item, unpack_result

logger = logging.getLogger("keras_dpn")

ATTEMPTS = 2
_BLOCK = 16  # images that a worker is sent at once; few are lost with it

_Inputs = dict[tuple[Kind, str], Source]


def predict_on_cluster(
    job: PredictionJob,
    options: ClusterOptions,
    sources: Sources,
    files: Outputs,
    on_result: Callable[[FileResult], None],
) -> None:
    """Predict images and videos on the workers of a cluster, and print a line about each video.

    An input whose worker dies, perhaps of it, is sent once more, in a block of its own, unless its
    results have been written; then it counts as one that can't be read. Progress is shown on
    stderr, and files that can't be read are logged at the end.

    Args:
        job: what is done with each input.
        options: the cluster.
        sources: the images and videos.
        files: records what the workers write; the caller has checked what may be replaced.
        on_result: called with what became of each input, in any order.

    Raises:
        ValueError: if Ray isn't installed, or the workers don't fit into the cluster.
        OSError: if there is no cluster at the address, or a worker can't write.
    """
    left = _inputs(sources)
    if not left:
        return
    problems: list[str] = []

    def report(result: FileResult) -> None:
        problems.extend(result.problems)
        on_result(result)
        if result.summary:
            print(result.summary)

    try:
        _predict(job, options, left, files, report)
    finally:
        for problem in problems:
            logger.warning("skipped: %s", problem)


def _predict(
    job: PredictionJob,
    options: ClusterOptions,
    left: _Inputs,
    files: Outputs,
    on_result: Callable[[FileResult], None],
) -> None:
    """Send the inputs, and once more those that are left."""
    unit = "files" if any(kind == "video" for kind, _ in left) else "images"
    with connect(options) as ray, progress_bar("predicting", len(left), unit) as bar:
        workers = number_of_workers(options, ray)
        for attempt in range(1, ATTEMPTS + 1):
            causes: dict[tuple[Kind, str], str] = {}
            blocks = _blocks(left, workers, 1 if attempt == ATTEMPTS else _BLOCK)
            tables = [[pack_item(*key, left[key]) for key in block] for block in blocks]
            for row in _run(ray, job, options, min(workers, len(blocks)), tables):
                if "error" not in row:
                    host, result = unpack_result(row)
                    left.pop((result.kind, result.name), None)
                    if host != socket.gethostname() and result.is_written:
                        # A network's file system may not show here yet what is written there.
                        with contextlib.suppress(FileNotFoundError):
                            for path in job.files_of(result.kind, result.name):
                                files.record(path)
                    on_result(result)
                    bar.advance()
                elif row["fatal"]:
                    raise OSError(f"A worker has failed: {row['error']}")
                else:
                    causes |= {(kind, name): row["error"] for kind, name in row["inputs"]}
            left = _inputs(job.missing(_sources(left)))
            if not left:
                return
            if attempt < ATTEMPTS:
                logger.warning("%d files whose worker has died are sent again", len(left))
        for (kind, name), source in left.items():
            cause = causes.get((kind, name), "its worker died, of lack of memory or in a decoder")
            problem = f"{source}: can't be predicted, tried {ATTEMPTS} times ({cause})."
            on_result(FileResult(kind, name, problems=[problem]))


def leave_gpus_to_workers() -> None:
    """Keep TensorFlow or JAX in this process from taking the memory of the GPUs."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # it runs already
            tf.config.set_visible_devices([], "GPU")
    elif keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_platforms", "cpu")  # without effect where it runs already


def _inputs(sources: Sources) -> _Inputs:
    images: _Inputs = {("image", name): source for name, source in sources.images.items()}
    return images | {("video", name): source for name, source in sources.videos.items()}


def _sources(inputs: _Inputs) -> Sources:
    def of_kind(wanted: Kind) -> dict[str, Source]:
        return {name: source for (kind, name), source in inputs.items() if kind == wanted}

    return Sources(of_kind("image"), of_kind("video"))


def _blocks(inputs: _Inputs, workers: int, size: int) -> list[list[tuple[Kind, str]]]:
    """Return the inputs in blocks: first the videos, one each, then the images."""
    videos = [[key] for key in inputs if key[0] == "video"]
    images = [key for key in inputs if key[0] == "image"]
    size = max(1, min(size, len(images) // (2 * workers)))
    return videos + [images[i : i + size] for i in range(0, len(images), size)]


def _run(
    ray: Any,
    job: PredictionJob,
    options: ClusterOptions,
    workers: int,
    blocks: Sequence[Sequence[str]],
) -> Iterator[dict[str, Any]]:
    """Yield the workers' rows about blocks of inputs, as they come."""
    import keras

    # Workers have a current directory of their own.
    models = [os.path.abspath(m) if os.path.isdir(m) else m for m in job.models]
    job = replace(job, out=Path(os.path.abspath(job.out)), models=tuple(models))
    arguments = (pickle.dumps(job), keras.backend.backend(), options.cpus)
    yield from map(json.loads, run_blocks(ray, options, workers, Worker, arguments, blocks))
