"""A data set in shards against the same in files."""

import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.io.images import ImageError
from training.configs.schema import Augmentation
from training.data.checks import scan_dataset
from training.data.generated.scenes import ScenesDataset
from training.data.pipeline.batches import train_dataset
from training.data.registry import load_dataset
from training.data.sets.folder import FolderDataset
from training.data.shards.dataset import (
    Record,
    Shard,
    ShardsDataset,
    absolute,
    scan_shard,
    write_index,
    write_shard,
)


@pytest.fixture
def files(folder):
    """Five and three pictures as PNG, but for a photograph that lies on its side."""
    upright = Image.open(folder / "images" / "train_00001.png").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    upright.rotate(90, expand=True).save(folder / "images" / "train_00001.jpg", exif=exif)
    (folder / "images" / "train_00001.png").unlink()
    return FolderDataset(folder)


@pytest.fixture
def packed(files, tmp_path):
    """Their shards of five and of three examples."""
    out, splits = tmp_path / "shards", files.splits
    for split, examples in splits.items():
        write_shard(out / f"{split}.tfrecord", files, examples)
    shards = [scan_shard(out / f"{split}.tfrecord") for split in ("train", "val")]
    write_index(out, files, shards, {"train": [*range(5)], "val": [5, 6, 7], "all": [*range(8)]})
    return out


def test_shards_equal_the_files(files, packed):
    shards = load_dataset("shards", packed)
    assert (shards.name, shards.classes) == ("folder", files.classes)
    for split, examples in files.splits.items():
        for ours, theirs in zip(shards.examples(split), examples, strict=True):
            assert ours.name == theirs.name
            for a, b in zip(shards.read(ours), files.read(theirs), strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(shards.read_labels(ours), files.read(theirs)[1])
    assert [e.name for e in shards.examples("all")[4:6]] == ["train_00004", "val_00000"]


def test_training_sees_the_same(files, packed):
    augmentation = Augmentation((40, 48), horizontal_flip=False)
    options = {"batch_size": 2, "augmentation": augmentation, "seed": 3, "epochs": 1}
    ours, theirs = (
        train_dataset(dataset, "train", **options) for dataset in (ShardsDataset(packed), files)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_other_programs_can_read_them(files, packed):
    records = tf.data.TFRecordDataset(str(packed / "train.tfrecord"))
    examples = [tf.train.Example.FromString(r.numpy()).features.feature for r in records]
    assert [e["image/format"].bytes_list.value[0] for e in examples[:2]] == [b"png", b"jpeg"]
    photograph = examples[1]["image/encoded"].bytes_list.value[0]
    assert photograph == files.splits["train"][1].image.read_bytes()  # as it is
    size = (examples[1][f"image/{side}"].int64_list.value[0] for side in ("height", "width"))
    assert tuple(size) == (48, 64)
    labels = tf.io.decode_png(examples[0]["image/segmentation/class/encoded"].bytes_list.value[0])
    assert labels.shape[:2] == (48, 64)


def test_any_file_system_of_tensorflow(files, packed):
    for path in packed.iterdir():
        with tf.io.gfile.GFile(f"ram://bucket/shards/{path.name}", "wb") as stream:
            stream.write(path.read_bytes())
    shards = load_dataset("shards", Path("ram://bucket/shards"))
    example = files.splits["val"][2]
    np.testing.assert_array_equal(shards.read(shards.examples("val")[2])[0], files.read(example)[0])
    assert absolute("gs://bucket/x/") == absolute(Path("gs://bucket/x")) == "gs://bucket/x"
    assert absolute("x") == str(Path("x").resolve())


def test_damage_is_named(packed):
    index = json.loads((packed / "index.json").read_text())
    name, offset, *_ = index["shards"][0]["records"][2]
    path = packed / "train.tfrecord"
    content = bytearray(path.read_bytes())
    content[offset + 50] ^= 1
    path.write_bytes(content)
    shards = ShardsDataset(packed)
    with pytest.raises(ValueError, match=rf"{path}: the record of {name} is damaged"):
        shards.read(shards.examples("train")[2])
    shards.read(shards.examples("train")[1])
    issues = scan_dataset(shards).issues
    assert any(issue.type == "unreadable" and str(path) in issue.message for issue in issues)
    with pytest.raises(ValueError, match=f"{path}: damaged"):
        scan_shard(path)


def test_missing_and_shortened_shards_are_named(packed):
    (packed / "train.tfrecord").unlink()
    path = packed / "val.tfrecord"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"train.tfrecord: 0 of \d+ bytes; .*val.tfrecord: \d+ of"):
        ShardsDataset(packed)
    with pytest.raises(ValueError, match=f"{path}: damaged"):
        scan_shard(path)


def test_the_index_is_named(packed):
    (packed / "index.json").write_text('{"version": 9}')
    with pytest.raises(ValueError, match="index.json: expected an index .*expected version 1"):
        ShardsDataset(packed)
    (packed / "index.json").unlink()
    with pytest.raises(ValueError, match="index.json: no such file"):
        ShardsDataset(packed)


def hostile(packed, change):
    """Change the index of the shards, as somebody else may."""
    index = json.loads((packed / "index.json").read_text())
    change(index)
    (packed / "index.json").write_text(json.dumps(index))
    return packed


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index["shards"][0].update(file="../train.tfrecord"),
        lambda index: index["shards"][0].update(file="a\\b"),
        lambda index: index["shards"][0].update(file=".."),
        lambda index: index["splits"].update({"../val": [0]}),
        lambda index: index["shards"][0].update(file=3),
        lambda index: index["shards"][0].update(bytes="9"),
        lambda index: index["shards"][0]["records"][0].__setitem__(2, 2**40),
        lambda index: index["shards"][0]["records"][0].__setitem__(2, -1),
        lambda index: index["shards"][0]["records"][0].__setitem__(1, -1),
        lambda index: index["shards"][0]["records"][0].__setitem__(1, 12.5),
        lambda index: index["shards"][0]["records"][0].__setitem__(0, None),
        lambda index: index.update(official="x"),
        lambda index: index.update(within=["x"]),
        lambda index: index.update(shards={"file": 1}),
        lambda index: index.update(splits=[0]),
    ],
)
def test_an_index_that_pack_did_not_write_is_refused(packed, change):
    with pytest.raises(ValueError, match=r"index.json: expected an index that"):
        ShardsDataset(hostile(packed, change))


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (png(np.full((4, 6), 7, "uint8")), "value 7 at x=0, y=0"),
        (png(np.zeros((4, 6, 3), "uint8")), "expected a map in grey or palette"),
        (png(np.zeros((4, 5), "uint8")), "6x4 pixels, its label map 5x4"),
        (png(np.zeros((4, 6), "uint8"))[:40], "can't be read as an image"),
        (None, "has no 'image/segmentation/class/encoded'"),
        (b"", "can't be read as an image"),
    ],
    ids=["value", "colour", "size", "truncated", "missing", "empty"],
)
def test_labels_of_a_record_are_checked(tmp_path, labels, words):
    values = {"image/filename": b"x", "image/encoded": png(np.zeros((4, 6, 3), "uint8"))}
    values |= {} if labels is None else {"image/segmentation/class/encoded": labels}
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in values.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(example.SerializeToString())
    generated = ScenesDataset({"train": 1})
    generated.classes = Classes(("a", "b"), ((1, 1, 1), (2, 2, 2)))
    write_index(tmp_path, generated, [scan_shard(tmp_path / "a.tfrecord")], {"train": [0]})
    dataset = ShardsDataset(tmp_path)
    with pytest.raises(ImageError, match=words):
        dataset.read(dataset.examples("train")[0])
    [issue] = scan_dataset(dataset).errors
    assert words.replace("\\", "") in issue.message


def test_a_broken_record_is_named(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(b"\xff no record")
    record = Record("x", 12, 11, zlib.crc32(b"\xff no record"))
    shard = Shard("a.tfrecord", (tmp_path / "a.tfrecord").stat().st_size, "", (record,))
    write_index(tmp_path, ScenesDataset({"train": 1}), [shard], {"train": [0]})
    dataset = ShardsDataset(tmp_path)
    with pytest.raises(ImageError, match=r"a.tfrecord: the record of x: "):
        dataset.read(dataset.examples("train")[0])
