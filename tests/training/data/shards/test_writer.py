import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.training.data.sets.trees import write_voc
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_dataset
from training.data.registry import load_dataset
from training.data.shards import writer as script
from training.data.shards.writer import pack


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """In place of processes, which take seconds to start; they get what processes would get."""

    class Threads(ThreadPoolExecutor):
        def __init__(self, workers, context, initializer, arguments):
            assert context.get_start_method() == "spawn"
            super().__init__(workers, "", initializer, pickle.loads(pickle.dumps(arguments)))

        def submit(self, function, *args):
            return super().submit(*pickle.loads(pickle.dumps((function, *args))))

    monkeypatch.setattr(script, "ProcessPoolExecutor", Threads)


@pytest.fixture
def pictures(tmp_path):
    """Five and two pictures."""
    directory = tmp_path / "pictures"
    write_dataset(ScenesDataset({"train": 5, "val": 2}, size=(48, 64)), directory)
    return directory


def test_packed_once_whatever_the_splits(tmp_path):
    write_voc(tmp_path / "voc")  # trainaug has what train has, and SBD's
    out = tmp_path / "shards"
    shards = pack("voc", tmp_path / "voc", out, examples_per_shard=3, processes=2)
    assert [len(shard.records) for shard in shards] == [3, 3, 1]
    files, shards = load_dataset("voc", tmp_path / "voc"), load_dataset("shards", out)
    assert (shards.classes, shards.subset_of) == (files.classes, files.subset_of)
    assert sorted(shards.splits) == ["train", "trainaug", "val"]
    for split, examples in files.splits.items():
        assert [e.name for e in shards.examples(split)] == [e.name for e in examples]
        for ours, theirs in zip(shards.examples(split), examples, strict=True):
            for a, b in zip(shards.read(ours), files.read(theirs), strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_stopped_packing_carries_on(pictures, tmp_path):
    out, victim = tmp_path / "shards", pictures / "images" / "train_00004.png"
    content = victim.read_bytes()
    victim.write_bytes(content[:100])
    with pytest.raises(ValueError, match="train_00004.png: can't be read"):
        pack("folder", pictures, out, examples_per_shard=4, processes=1)
    first = out / "part-00000-of-00002.tfrecord"
    assert list(out.iterdir()) == [first]
    time = first.stat().st_mtime_ns
    victim.write_bytes(content)
    assert len(pack("folder", pictures, out, examples_per_shard=4, processes=1)) == 2
    assert first.stat().st_mtime_ns == time
    assert len(load_dataset("shards", out).examples("train")) == 5
    with pytest.raises(ValueError, match="shards holds a packed dataset already"):
        pack("folder", pictures, out, examples_per_shard=4)


def test_shards_of_something_else_are_refused(pictures, tmp_path):
    out = tmp_path / "shards"
    pack("folder", pictures, out, examples_per_shard=7)
    (out / "index.json").unlink()
    with pytest.raises(ValueError, match="another number of examples, such as part-00000-of-00001"):
        pack("folder", pictures, out, examples_per_shard=2)
    (pictures / "splits" / "train.txt").write_text("train_00000\n")
    with pytest.raises(ValueError, match="of-00001.tfrecord: holds other examples"):
        pack("folder", pictures, out, examples_per_shard=7)


@pytest.mark.parametrize("argument", ["examples_per_shard", "processes"])
def test_invalid_arguments(pictures, tmp_path, argument):
    with pytest.raises(ValueError, match=f"`{argument}`: expected 1 or more, received 0"):
        pack("folder", pictures, tmp_path / "shards", **{argument: 0})
