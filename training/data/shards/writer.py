"""Pack a dataset into shards: a few large TFRecord files instead of many small ones.

`dataset.py` describes their content.
"""

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from ...utils.progress import progress
from ..dataset import Dataset, Example
from ..registry import load_dataset
from .dataset import INDEX, Shard, scan_shard, write_index, write_shard

# The dataset of a worker process.
_dataset: Dataset


def pack(
    name: str,
    data_dir: Path | None,
    out: Path,
    *,
    examples_per_shard: int = 500,
    processes: int | None = None,
) -> list[Shard]:
    """Pack all splits of a dataset; an example of several splits is packed once.

    After an interruption the same call continues: complete shards are kept.

    Args:
        name: one of `configs.datasets.NAMES`.
        data_dir: the dataset's directory; None for generated ones.
        out: directory for the shards and, when all are complete, the index.
        examples_per_shard: in all shards but the last.
        processes: number of processes; one per processor by default.

    Returns:
        The shards.

    Raises:
        ValueError: on an example that can't be read, fewer than one example or process, and a
            directory that holds a packed dataset, or shards that are damaged or of another one.
        OSError: if a process is killed.
    """
    for argument, value in (("examples_per_shard", examples_per_shard), ("processes", processes)):
        if value is not None and value < 1:
            raise ValueError(
                f"Invalid value for argument `{argument}`: expected 1 or more, received {value}."
            )
    dataset = load_dataset(name, data_dir)
    examples = {_identity(e): e for split in dataset.splits.values() for e in split}
    parts = _parts(list(examples.values()), examples_per_shard)
    _check_out(out, set(parts))
    with _executor(processes, name, data_dir) as executor:
        packed = executor.map(_pack_shard, (out / file for file in parts), parts.values())
        try:
            shards = list(progress(packed, f"packing {dataset.name}", len(parts)))
        except BrokenProcessPool:
            raise OSError(
                "A process was killed, perhaps for lack of memory; try again with --processes 1."
            ) from None
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    positions = {identity: position for position, identity in enumerate(examples)}
    splits = {
        split: [positions[_identity(example)] for example in listed]
        for split, listed in dataset.splits.items()
    }
    write_index(out, dataset, shards, splits)
    return shards


def _identity(example: Example) -> Example:
    """Return a key that is equal for equal examples of two splits, whatever their index."""
    return example if example.image is None else replace(example, index=0)


def _parts(examples: list[Example], size: int) -> dict[str, list[Example]]:
    """Return the examples of each shard, by its file name."""
    starts = range(0, len(examples), size)
    return {
        f"part-{number:05d}-of-{len(starts):05d}.tfrecord": examples[start : start + size]
        for number, start in enumerate(starts)
    }


def _check_out(out: Path, files: set[str]) -> None:
    if (out / INDEX).exists():
        raise ValueError(f"{out} holds a packed dataset already; name another directory.")
    unknown = sorted({path.name for path in out.glob("part-*.tfrecord")} - files)
    if unknown:
        raise ValueError(
            f"{out} holds shards of another dataset, or with another number of examples, such as "
            f"{unknown[0]}; name another directory."
        )


def _executor(processes: int | None, name: str, data_dir: Path | None) -> Executor:
    # TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, _open_dataset, (name, data_dir))


def _open_dataset(name: str, data_dir: Path | None) -> None:
    global _dataset
    _dataset = load_dataset(name, data_dir)


def _pack_shard(path: Path, examples: list[Example]) -> Shard:
    """Write a shard unless it exists."""
    if not path.exists():
        write_shard(path, _dataset, examples)
    shard = scan_shard(path)
    if [record.name for record in shard.records] != [example.name for example in examples]:
        raise ValueError(f"{path}: holds other examples; delete it, and pack again.")
    return shard
