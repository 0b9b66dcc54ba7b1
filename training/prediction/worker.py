"""A worker process of `keras-dpn predict --ray`: holds the networks, and labels what it is sent.

Importing this module imports neither Keras nor TensorFlow: the worker first sets their threads.
"""

import json
import os
import pickle
import socket
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_dpn.segmenter import Segmenter

    from ..rundir.outputs import Outputs
    from .results import FileResult
    from .settings import PredictionJob
    from .sources import Sources


class Worker:
    """Labels images and videos, with the functions that one process alone uses.

    Ray constructs it once per process and calls it with one block of inputs after another.

    Args:
        job: a pickled `PredictionJob`.
        backend: Keras's.
        threads: of an operation of the network, as many as the worker has processors.
    """

    def __init__(self, job: bytes, backend: str, threads: int) -> None:
        self._failure = ""
        try:
            self._job, self._segmenter, self._files = _load(job, backend, threads)
        except Exception as error:  # an exception here would make Ray start the worker again
            self._failure = f"{type(error).__name__}: {error}"

    def __call__(self, batch: dict[str, np.ndarray]) -> Any:
        """Label the inputs of a block.

        Args:
            batch: "item", JSON of `pack_item`.

        Returns:
            An Arrow table with "row": JSON of a `FileResult`; or {"error": a cause} for what ended
            the block, which is "fatal" where no other block would fare better.
        """
        rows: list[dict[str, Any]] = []
        if self._failure:
            rows.append({"error": self._failure, "fatal": True, "inputs": []})
            return _encoded(rows)
        try:
            from .local import predict_here

            sources = _unpack(batch["item"])
            predict_here(
                self._job,
                self._segmenter,
                sources,
                self._files,
                lambda result: rows.append(pack_result(result)),
            )
        except Exception as error:
            rows.append(
                {
                    "error": f"{type(error).__name__}: {error}",
                    "fatal": isinstance(error, OSError),  # such as a full disk
                    "inputs": [json.loads(item)[:2] for item in batch["item"]],
                }
            )
        return _encoded(rows)


def _encoded(rows: list[dict[str, Any]]) -> Any:
    import pyarrow

    return pyarrow.table({"row": [json.dumps(row) for row in rows]})


def pack_item(kind: str, name: str, source: Any) -> str:
    """Return an input as JSON."""
    return json.dumps([kind, name, str(source), isinstance(source, Path)])


def _unpack(items: np.ndarray) -> "Sources":
    """Return the inputs of `pack_item`'s JSON."""
    from .remote import RemoteFile, Source
    from .sources import Sources

    inputs: dict[str, dict[str, Source]] = {"image": {}, "video": {}}
    for item in items:
        kind, name, source, is_local = json.loads(item)
        inputs[kind][name] = Path(source) if is_local else RemoteFile(source)
    return Sources(inputs["image"], inputs["video"])


def pack_result(result: "FileResult") -> dict[str, Any]:
    """Return a result, and the host that wrote it, as JSON values."""
    return {"host": socket.gethostname(), **asdict(result)}


def unpack_result(row: dict[str, Any]) -> "tuple[str, FileResult]":
    """Return the host and the result of a row from `pack_result`."""
    from .results import FileResult

    values = dict(row)
    return values.pop("host"), FileResult(**values)


def _load(job: bytes, backend: str, threads: int) -> "tuple[PredictionJob, Segmenter, Outputs]":
    _set_up(backend, threads)
    from ..rundir.outputs import Outputs

    loaded: PredictionJob = pickle.loads(job)
    # The process that sends the inputs has checked what may be replaced.
    return loaded, loaded.load_segmenter(), Outputs(loaded.out, "predict", force=True)


def _set_up(backend: str, threads: int) -> None:
    """Choose Keras's backend and its threads, before anything runs.

    Sums depend on the number of threads, by about 1e-6; and workers that all use all processors
    take turns.
    """
    os.environ["KERAS_BACKEND"] = backend
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
