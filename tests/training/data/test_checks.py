import numpy as np
import pytest
from PIL import Image

from tests.training.data.sets import trees
from training.data.checks import check, sequence_faults, survey
from training.data.clips.base import ClipFolder
from training.data.generated.moving_scenes import MovingScenesDataset, write_clips
from training.data.generated.scenes import ScenesDataset
from training.data.registry import load_dataset
from training.data.sets.folder import FolderDataset


def kinds(faults):
    return sorted(fault.kind for fault in faults if not fault.is_warning)


def test_a_good_folder_has_no_faults(folder):
    assert kinds(check(FolderDataset(folder), workers=2)) == []


def test_generated_pictures_pass():
    assert kinds(check(ScenesDataset({"train": 3}, size=(48, 64)))) == []


def test_every_fault_at_once(folder):
    images, labels, splits = folder / "images", folder / "labels", folder / "splits"
    (labels / "train_00000.png").unlink()
    Image.new("L", (5, 6)).save(labels / "train_00001.png")
    Image.new("L", (64, 48), 200).save(labels / "train_00002.png")
    (images / "train_00003.png").write_bytes(b"no picture")
    (images / "train_00004.png").unlink()
    (splits / "val.txt").write_text("val_00000\nval_00001\nval_00001.png\ntrain_00002\n")
    (splits / "test.txt").write_text("\n")
    faults = check(FolderDataset(folder), workers=3)
    assert kinds(faults) == [
        "duplicate",
        "empty",
        "labels",
        "labels",  # train_00002 is in train and in val
        "missing",
        "missing",
        "shared",
        "size",
        "unreadable",
    ]
    text = "\n".join(str(fault) for fault in faults)
    for part in (
        "train: size: ",
        "train_00001.png: 5x6 pixels",
        "train: labels: ",
        "train_00002.png: value 200 at x=0, y=0",
        "train_00003.png: can't be read",
        "test: empty",
        "val_00001.png is listed 2 times",
        "train and val: shared: ",
    ):
        assert part in text


def test_a_published_set_with_ten_faults(tmp_path):
    trees.write_voc(tmp_path, train=6, val=3, sbd=5, test=2)
    kit, sbd = tmp_path / "VOCdevkit/VOC2012", tmp_path / "benchmark_RELEASE/dataset/cls"
    pictures, labels = kit / "JPEGImages", kit / "SegmentationClass"
    (pictures / "2008_train000.jpg").unlink()
    (labels / "2008_train001.png").unlink()
    cut = pictures / "2008_train002.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    cut = labels / "2008_train003.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    trees.png(labels / "2008_train004.png", np.full(trees.SIZE, 21, "uint8"))
    trees.picture(pictures / "2008_val000.jpg", (5, 6))
    (sbd / "2008_sbd000.mat").write_bytes(b"MATLAB 7.3".ljust(124) + b"\x00\x02IM")
    trees.mat(sbd / "2008_sbd001.mat", LabelMap=np.zeros(trees.SIZE))
    trees.write_sbd(sbd / "2008_sbd002.mat", np.full(trees.SIZE, 255, "uint8"))
    (pictures / "2008_test001.jpg").write_bytes(b"")
    faults = check(load_dataset("voc", tmp_path), workers=2)
    found = sorted((f.where, f.kind, f.message) for f in faults if not f.is_warning)
    expected = [
        ("test", "unreadable", "test001.jpg: can't be read as an image"),
        ("train", "labels", "train004.png: value 21 at x=0, y=0"),
        ("train", "missing", "train000.jpg: no such file"),
        ("train", "missing", "train001.png: no such file"),
        ("train", "unreadable", "train002.jpg: can't be read as an image"),
        ("train", "unreadable", "train003.png: can't be read as an image"),
        ("trainaug", "labels", "sbd002.mat: value 255 at x=0, y=0"),
        ("trainaug", "unreadable", "sbd000.mat: a .mat file of MATLAB's version 7.3"),
        ("trainaug", "unreadable", "sbd001.mat: expected GTcls in it, found LabelMap"),
        ("val", "size", "val000.png: 16x12 pixels, but"),
    ]
    assert [fault[:2] for fault in found] == [fault[:2] for fault in expected]
    for (_, _, message), (_, _, words) in zip(found, expected, strict=True):
        assert words in message


def test_official_sizes_and_splits_that_overlap(tmp_path):
    trees.write_voc(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("2008_train000")
    faults = check(load_dataset("voc", tmp_path))
    assert kinds(faults) == ["shared"]  # with val; but train lies within trainaug
    incomplete = [str(fault) for fault in faults if fault.kind == "incomplete"]
    assert "train: incomplete: 2 examples; the complete data set has 1464." in incomplete
    assert len(incomplete) == 4 and all(f.is_warning for f in faults if f.kind == "incomplete")


def test_faults_of_a_picture_and_its_labels_are_both_reported(folder):
    for kind in ("images", "labels"):
        (folder / kind / "val_00000.png").write_bytes(b"")
    assert kinds(check(FolderDataset(folder))) == ["unreadable", "unreadable"]


def test_a_class_never_seen_is_a_warning(folder):
    for path in (folder / "labels").glob("val_*.png"):
        Image.fromarray(np.zeros((48, 64), "uint8")).save(path)
    faults = [fault for fault in check(FolderDataset(folder)) if fault.where == "val"]
    assert [(fault.kind, fault.is_warning) for fault in faults] == [("unseen", True)]
    assert "grass, house" in faults[0].message and "sky" not in faults[0].message


def test_a_generator_that_fails_is_reported(scenes):
    def fail(example):
        raise ValueError("broken")

    scenes.read = fail
    assert kinds(check(scenes)) == ["unreadable"] * 8


def test_labels_of_no_class_are_named_for_every_file(folder):
    for name, value, dtype in (
        ("train_00000", -1, "int32"),
        ("train_00001", 1.5, "float32"),
        ("train_00002", 11, "uint8"),
    ):
        (folder / "labels" / f"{name}.png").unlink()
        labels = np.zeros((48, 64), dtype)
        labels[5, 7] = value
        Image.fromarray(labels).save(folder / "labels" / f"{name}.tif")
    faults = [str(fault) for fault in check(FolderDataset(folder)) if not fault.is_warning]
    assert len(faults) == 3
    for fault, (name, value) in zip(
        faults, (("00000", -1), ("00001", 1.5), ("00002", 11)), strict=True
    ):
        assert fault.startswith("train: labels: ")
        assert f"train_{name}.tif: value {value} at x=7, y=5" in fault


@pytest.mark.parametrize("value", [-1, 11, 254, 0.5])
def test_labels_of_no_class_are_named_without_files_too(scenes, value):
    read = scenes.read

    def with_fault(example):
        image, labels = read(example)
        labels = labels.astype(type(value))
        labels[2, 3] = value
        return image, labels

    scenes.read = with_fault
    faults = [fault for fault in check(scenes) if not fault.is_warning]
    assert {fault.kind for fault in faults} == {"labels"} and len(faults) == 8
    assert f"train_00000: value {value} at x=3, y=2" in faults[0].message


@pytest.fixture
def clips(tmp_path):
    """Two sequences of four frames, of which the first and the third have labels."""
    write_clips(MovingScenesDataset({"train": 2, "val": 1}, size=(48, 64), frames=4), tmp_path)
    for frame in (1, 3):
        for path in (tmp_path / "labels").glob(f"*/00000{frame}.png"):
            path.unlink()
    return tmp_path


def test_good_sequences_have_no_faults(clips):
    assert sequence_faults(ClipFolder(clips)) == []


def test_frames_that_only_clips_need_are_looked_at(clips):
    frames = clips / "clips"
    (frames / "train_00000" / "000001.png").write_bytes(b"no picture")
    (frames / "train_00001" / "000000.png").write_bytes(b"")  # an example: `check` reports it
    Image.new("RGB", (5, 6)).save(frames / "train_00001" / "000003.png")
    for kind in ("clips", "labels"):  # an example of its own size
        Image.new("L", (7, 8)).save(clips / kind / "val_00000" / "000002.png")
    dataset = ClipFolder(clips)
    assert kinds(check(dataset)) == ["unreadable"]
    faults = sequence_faults(dataset, workers=3)
    assert [(fault.where, fault.kind) for fault in faults] == [
        ("train", "unreadable"),
        ("train", "size"),
        ("val", "size"),
    ]
    for fault, words in zip(
        faults,
        (
            "train_00000/000001.png: can't be read",
            "000003.png: 5x6 pixels, but train_00001/000001 has 64x48; the frames of a sequence",
            "000002.png: 7x8 pixels, but val_00000/000000 has 64x48",
        ),
        strict=True,
    ):
        assert words in fault.message
    with pytest.raises(ValueError, match="`workers`"):
        sequence_faults(dataset, workers=0)


def test_survey_counts_pixels(scenes):
    counts = survey(scenes).counts
    assert {split: rows.shape for split, rows in counts.items()} == {
        "train": (5, 11),
        "val": (3, 11),
    }
    np.testing.assert_array_equal(counts["train"].sum(axis=1), [48 * 64] * 5)


def test_workers(scenes):
    with pytest.raises(ValueError, match="`workers`"):
        check(scenes, workers=0)
