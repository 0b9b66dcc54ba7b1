"""Packs a data set into shards: a few large TFRecord files instead of many small ones.

    python -m training.pack voc --data-dir VOC --out SHARDS

Stopped, the same command carries on: whole shards are kept. What they hold, and how they are
trained from: training/data/shards.py.
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

# The data set of a process that packs.
_dataset: Dataset


def pack(
    name: str,
    data_dir: Path | None,
    out: Path,
    *,
    examples_per_shard: int = 500,
    processes: int | None = None,
) -> list[Shard]:
    """Packs all splits of a data set; an example that several of them have is packed once.

    Args:
        name: one of `training.data.NAMES`.
        data_dir: the data set's directory; None for those that are generated.
        out: receives the shards, and when all are there the index.
        examples_per_shard: in all shards but the last.
        processes: how many pack at the same time; one a processor by default.

    Returns:
        What was packed.

    Raises:
        ValueError: on an example that can't be read, fewer than one example or process, and a
            directory that holds a packed data set, or shards that are damaged or other ones.
        OSError: where a process is killed.
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
        found = executor.map(_pack_shard, (out / file for file in parts), parts.values())
        try:
            shards = list(progress(found, f"packing {dataset.name}", len(parts)))
        except BrokenProcessPool:
            raise OSError(
                "A process was killed, maybe for want of memory; try again with --processes 1."
            ) from None
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    places = {identity: place for place, identity in enumerate(examples)}
    splits = {
        split: [places[_identity(example)] for example in some]
        for split, some in dataset.splits.items()
    }
    write_index(out, dataset, shards, splits)
    return shards


def _identity(example: Example) -> Example:
    """Equal for equal examples of two splits. Of files the index plays no role."""
    return example if example.image is None else replace(example, index=0)


def _parts(examples: list[Example], size: int) -> dict[str, list[Example]]:
    """The examples of each shard, by its file name."""
    starts = range(0, len(examples), size)
    return {
        f"part-{number:05d}-of-{len(starts):05d}.tfrecord": examples[start : start + size]
        for number, start in enumerate(starts)
    }


def _check_out(out: Path, files: set[str]) -> None:
    if (out / INDEX).exists():
        raise ValueError(f"{out} holds a packed data set already; name another directory.")
    others = sorted({path.name for path in out.glob("part-*.tfrecord")} - files)
    if others:
        raise ValueError(
            f"{out} holds shards of another data set, or of another number of examples, as "
            f"{others[0]}; name another directory."
        )


def _executor(processes: int | None, name: str, data_dir: Path | None) -> Executor:
    # TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, _open_dataset, (name, data_dir))


def _open_dataset(name: str, data_dir: Path | None) -> None:
    global _dataset
    _dataset = load_dataset(name, data_dir)


def _pack_shard(path: Path, examples: list[Example]) -> Shard:
    """Writes a shard where there is none yet."""
    if not path.exists():
        write_shard(path, _dataset, examples)
    shard = scan_shard(path)
    if [record.name for record in shard.records] != [example.name for example in examples]:
        raise ValueError(f"{path}: holds other examples; delete it, and pack again.")
    return shard
