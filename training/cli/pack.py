"""Packs a data set into shards: a few large TFRecord files instead of many small ones.

    python -m training.pack voc --data-dir VOC --out SHARDS

Stopped, the same command carries on: whole shards are kept. What they hold, and how they are
trained from: training/data/shards.py.
"""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ..data.registry import NAMES


def main(
    dataset: Positional[Literal[*NAMES]],
    data_dir: Path | None = None,
    *,
    out: Path,
    examples_per_shard: int = 500,
    processes: int | None = None,
) -> None:
    """Packs a data set into TFRecord shards, to be read as the data set "shards".

    Args:
        dataset: how to read it; of clips the labelled frames are packed, as pictures.
        data_dir: directory of the data set; those that are generated need none.
        out: the directory to write; made where there is none.
        examples_per_shard: in all shards but the last.
        processes: how many pack at the same time; one a processor by default.
    """
    from ..data.shards.writer import pack

    shards = pack(
        dataset, data_dir, out, examples_per_shard=examples_per_shard, processes=processes
    )
    examples, size = sum(len(s.records) for s in shards), sum(s.bytes for s in shards)
    print(f"{out}: {examples} examples in {len(shards)} shards, {size / 2**20:.0f} MiB")
