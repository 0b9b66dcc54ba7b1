import json

import numpy as np
import pytest
from PIL import Image

from keras_dpn.classes import Classes
from tests.training.data.sets import trees
from training.data.checks import scan_dataset, scan_sequences
from training.data.clips.folder import ClipFolder
from training.data.dataset import Dataset, Example
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_clips
from training.data.registry import load_dataset
from training.data.sets.folder import FolderDataset


def error_types(issues):
    return sorted(issue.type for issue in issues if not issue.is_warning)


def test_a_good_folder_has_no_issues(folder):
    assert error_types(scan_dataset(FolderDataset(folder), workers=2).issues) == []


def test_generated_pictures_pass():
    assert error_types(scan_dataset(ScenesDataset({"train": 3}, size=(48, 64))).issues) == []


def test_every_issue_at_once(folder):
    images, labels, splits = folder / "images", folder / "labels", folder / "splits"
    (labels / "train_00000.png").unlink()
    Image.new("L", (5, 6)).save(labels / "train_00001.png")
    Image.new("L", (64, 48), 200).save(labels / "train_00002.png")
    (images / "train_00003.png").write_bytes(b"no image")
    (images / "train_00004.png").unlink()
    (splits / "val.txt").write_text("val_00000\nval_00001\nval_00001.png\ntrain_00002\n")
    (splits / "test.txt").write_text("\n")
    issues = scan_dataset(FolderDataset(folder), workers=3).issues
    assert error_types(issues) == [
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
    text = "\n".join(str(issue) for issue in issues)
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


def test_a_published_set_with_ten_issues(tmp_path):
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
    issues = scan_dataset(load_dataset("voc", tmp_path), workers=2).issues
    found = sorted(
        (issue.where, issue.type, issue.message) for issue in issues if not issue.is_warning
    )
    expected = [
        ("test", "unreadable", "test001.jpg: can't be read as an image"),
        ("train", "labels", "train004.png: value 21 at x=0, y=0"),
        ("train", "missing", "train000.jpg: no such file"),
        ("train", "missing", "train001.png: no such file"),
        ("train", "unreadable", "train002.jpg: can't be read as an image"),
        ("train", "unreadable", "train003.png: can't be read as an image"),
        ("trainaug", "labels", "sbd002.mat: value 255 at x=0, y=0"),
        ("trainaug", "unreadable", "sbd000.mat: a .mat file of MATLAB's version 7.3"),
        ("trainaug", "unreadable", "sbd001.mat: expected GTcls in it, received LabelMap"),
        ("val", "size", "val000.png: 16x12 pixels, but"),
    ]
    assert [issue[:2] for issue in found] == [issue[:2] for issue in expected]
    for (_, _, message), (_, _, words) in zip(found, expected, strict=True):
        assert words in message


def test_official_sizes_and_splits_that_overlap(tmp_path):
    trees.write_voc(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("2008_train000")
    issues = scan_dataset(load_dataset("voc", tmp_path)).issues
    assert error_types(issues) == ["shared"]  # with val; but train is a subset of trainaug
    incomplete = [str(issue) for issue in issues if issue.type == "incomplete"]
    assert "train: incomplete: 2 examples; the complete dataset has 1464." in incomplete
    assert len(incomplete) == 4 and all(
        issue.is_warning for issue in issues if issue.type == "incomplete"
    )


def test_issues_of_a_picture_and_its_labels_are_both_reported(folder):
    for kind in ("images", "labels"):
        (folder / kind / "val_00000.png").write_bytes(b"")
    assert error_types(scan_dataset(FolderDataset(folder)).issues) == ["unreadable", "unreadable"]


def test_a_class_never_seen_is_a_warning(folder):
    for path in (folder / "labels").glob("val_*.png"):
        Image.fromarray(np.zeros((48, 64), "uint8")).save(path)
    issues = [issue for issue in scan_dataset(FolderDataset(folder)).issues if issue.where == "val"]
    assert [(issue.type, issue.is_warning) for issue in issues] == [("unseen", True)]
    assert "grass, house" in issues[0].message and "sky" not in issues[0].message


def test_a_generator_that_fails_is_reported(scenes):
    def fail(example):
        raise ValueError("broken")

    scenes.read = fail
    assert error_types(scan_dataset(scenes).issues) == ["unreadable"] * 8


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
    issues = [
        str(issue) for issue in scan_dataset(FolderDataset(folder)).issues if not issue.is_warning
    ]
    assert len(issues) == 3
    for issue, (name, value) in zip(
        issues, (("00000", -1), ("00001", 1.5), ("00002", 11)), strict=True
    ):
        assert issue.startswith("train: labels: ")
        assert f"train_{name}.tif: value {value} at x=7, y=5" in issue


@pytest.mark.parametrize("value", [-1, 11, 254, 0.5])
def test_labels_of_no_class_are_named_without_files_too(scenes, value):
    read = scenes.read

    def with_issue(example):
        image, labels = read(example)
        labels = labels.astype(type(value))
        labels[2, 3] = value
        return image, labels

    scenes.read = with_issue
    issues = [issue for issue in scan_dataset(scenes).issues if not issue.is_warning]
    assert {issue.type for issue in issues} == {"labels"} and len(issues) == 8
    assert f"train_00000: value {value} at x=3, y=2" in issues[0].message


@pytest.fixture
def clips(tmp_path):
    """Two sequences of four frames, of which the first and the third have labels."""
    write_clips(MovingScenesDataset({"train": 2, "val": 1}, size=(48, 64), frames=4), tmp_path)
    for frame in (1, 3):
        for path in (tmp_path / "labels").glob(f"*/00000{frame}.png"):
            path.unlink()
    return tmp_path


def test_good_sequences_have_no_issues(clips):
    assert scan_sequences(ClipFolder(clips)) == []


def test_frames_that_only_clips_need_are_looked_at(clips):
    frames = clips / "clips"
    (frames / "train_00000" / "000001.png").write_bytes(b"no image")
    (frames / "train_00001" / "000000.png").write_bytes(b"")  # an example
    Image.new("RGB", (5, 6)).save(frames / "train_00001" / "000003.png")
    for kind in ("clips", "labels"):  # an example of its own size
        Image.new("L", (7, 8)).save(clips / kind / "val_00000" / "000002.png")
    dataset = ClipFolder(clips)
    assert error_types(scan_dataset(dataset).issues) == ["unreadable"]
    issues = scan_sequences(dataset, workers=3)
    assert [(issue.where, issue.type) for issue in issues] == [
        ("train", "unreadable"),
        ("train", "size"),
        ("val", "size"),
    ]
    for issue, words in zip(
        issues,
        (
            "train_00000/000001.png: can't be read",
            "000003.png: 5x6 pixels, but train_00001/000001 has 64x48; the frames of a sequence",
            "000002.png: 7x8 pixels, but val_00000/000000 has 64x48",
        ),
        strict=True,
    ):
        assert words in issue.message
    with pytest.raises(ValueError, match="`workers`"):
        scan_sequences(dataset, workers=0)


def test_scan_counts_pixels(scenes):
    scan = scan_dataset(scenes)
    counts = scan.counts
    assert scan.sizes["val"].tolist() == [[48, 64]] * 3
    assert {split: rows.shape for split, rows in counts.items()} == {
        "train": (5, 11),
        "val": (3, 11),
    }
    np.testing.assert_array_equal(counts["train"].sum(axis=1), [48 * 64] * 5)


def test_workers(scenes):
    with pytest.raises(ValueError, match="`workers`"):
        scan_dataset(scenes, workers=0)


class Two(Dataset):
    name = "two"
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), ignore=7)
    splits = {"train": (Example("0", index=0), Example("1", index=1))}

    def read(self, example):
        labels = ([[0, 0, 1, 7]], [[0, 0, 0, 0]])[example.index]
        return np.zeros((1, 4, 3), "uint8"), np.array(labels, "uint8")


def test_pixel_counts_by_hand():
    counts, where_present = scan_dataset(Two()).pixel_counts("train")
    np.testing.assert_array_equal(counts, [6, 1, 0])
    np.testing.assert_array_equal(where_present, [3 + 4, 3, 0])


def relabel(folder, name, change):
    path = folder / "labels" / name
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def test_ignored_pixels_are_counted_by_image(folder):
    def ignore_half(labels):
        labels[:24] = 255  # of 48 rows
        return labels

    relabel(folder, "train_00001.png", ignore_half)
    relabel(folder, "val_00002.png", lambda labels: np.full_like(labels, 255))
    scan = scan_dataset(FolderDataset(folder))
    np.testing.assert_array_equal(scan.ignored_fractions("train"), [0, 0.5, 0, 0, 0])
    np.testing.assert_array_equal(scan.ignored_fractions("val"), [0, 0, 1])
    assert scan.names["val"] == ["val_00000", "val_00001", "val_00002"]
    (issue,) = [issue for issue in scan.issues if issue.type == "ignored"]
    assert issue.is_warning and str(issue) == "val: ignored: val_00002: all pixels are ignored."


def test_masks_of_two_classes_whose_object_would_be_ignored_are_errors(folder):
    def mask(labels):
        return np.where(labels == labels[0, 0], 0, 255).astype("uint8")

    relabel(folder, "train_00003.png", mask)
    scan = scan_dataset(FolderDataset(folder))
    (issue,) = scan.errors
    assert issue.type == "labels" and "only values are 0 and 255" in issue.message
    classes = json.loads((folder / "classes.json").read_text())
    values = {str(label): name for label, name in enumerate(classes["names"])}
    (folder / "classes.json").write_text(json.dumps(classes | {"values": values | {"255": None}}))
    assert not scan_dataset(FolderDataset(folder)).errors
    (folder / "classes.json").write_text(json.dumps(classes | {"values": values | {"255": 3}}))
    dataset = FolderDataset(folder)
    assert not scan_dataset(dataset).errors
    labels = dataset.read_labels(dataset.splits["train"][3])
    assert set(np.unique(labels)) == {0, 3}
