"""Pack a dataset into shards: a few large TFRecord files instead of many small ones.

    keras-dpn pack voc --data-dir VOC --out SHARDS
    keras-dpn train dpn/voc --data.dataset shards --data-dir SHARDS --work-dir RUN

After an interruption the same command continues: complete shards are kept. No file is ever
replaced: a directory that holds a packed dataset, or other shards, is refused.
"""

from pathlib import Path

from tyro.conf import Positional

from ..configs.datasets import DatasetName
from ..utils.counts import counted


def main(
    dataset: Positional[DatasetName],
    data_dir: Path | None = None,
    *,
    out: Path,
    examples_per_shard: int = 500,
    processes: int | None = None,
) -> None:
    """Pack a dataset into TFRecord shards, to be read as the dataset "shards".

    Args:
        dataset: name of the dataset, or of its layout; of clips only the labelled frames are
            packed, as images.
        data_dir: directory of the dataset; generated ones need none.
        out: directory for the shards.
        examples_per_shard: number of examples in every shard but the last.
        processes: number of processes that pack; by default one per processor.
    """
    from ..data.shards.writer import pack
    from ..rundir.lock import lock_directory

    with lock_directory(out):
        shards = pack(
            dataset, data_dir, out, examples_per_shard=examples_per_shard, processes=processes
        )
    examples, size = sum(len(s.records) for s in shards), sum(s.bytes for s in shards)
    packed = f"{counted(examples, 'example')} in {counted(len(shards), 'shard')}"
    print(f"{out}: {packed}, {size / 2**20:.0f} MiB")
