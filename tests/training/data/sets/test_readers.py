"""The published data sets, each on a tiny tree in its own format."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.training.data.sets import trees
from training.data.registry import load_dataset
from training.data.sets.voc import CLASSES, color_map

# What each function of `trees` writes, and how many examples of each split it makes.
TREES = {
    "voc": (trees.write_voc, {"train": 2, "val": 2, "trainaug": 5}, 21),
    "cityscapes": (trees.write_cityscapes, {"train": 2, "val": 1}, 19),
    "camvid": (trees.write_camvid, {"train": 4, "val": 2, "test": 2}, 11),
    "pascal_context": (trees.write_pascal_context, {"train": 2, "val": 1}, 60),
    "sift_flow": (trees.write_sift_flow, {"train": 3, "test": 1}, 33),
    "coco": (trees.write_coco, {"train": 1, "val": 1}, 21),
    "coco_panoptic": (trees.write_coco_panoptic, {"train": 1, "val": 1}, 21),
}


@pytest.mark.parametrize("name", TREES)
def test_reads_what_is_there(name, tmp_path):
    write, sizes, num_classes = TREES[name]
    expected = write(tmp_path)
    dataset = load_dataset(name, tmp_path)
    assert {split: len(examples) for split, examples in dataset.splits.items()} == sizes
    assert dataset.classes.num_classes == num_classes
    read = set()
    for examples in dataset.splits.values():
        assert [example.index for example in examples] == list(range(len(examples)))
        for example in examples:
            image, labels = dataset.read(example)
            assert image.dtype == labels.dtype == np.uint8 and image.shape == (*labels.shape, 3)
            np.testing.assert_array_equal(labels, expected[example.name], example.name)
            read.add(example.name)
    assert read == expected.keys()


@pytest.mark.parametrize("name", [*TREES, "folder", "clips"])
def test_other_data_sets_are_named(name, tmp_path):
    other = "cityscapes" if name == "voc" else "voc"
    TREES[other][0](tmp_path)
    with pytest.raises(ValueError, match=f"xpected .* it looks like the dataset '{other}'"):
        load_dataset(name, tmp_path)


def test_no_directory_and_no_data_set(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such directory"):
        load_dataset("voc", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="Segmentation: not there; expected PASCAL VOC 2012.$"):
        load_dataset("voc", tmp_path)


def test_palette_of_voc():
    colors = color_map(256)
    assert colors[15] == CLASSES.colors[CLASSES.names.index("person")] == (192, 128, 128)
    assert colors[255] == (224, 224, 192) and len(set(colors)) == 256


def test_vocs_own_labels_come_before_sbds(tmp_path):
    trees.write_voc(tmp_path)
    dataset = load_dataset("voc", tmp_path)
    suffixes = {example.name: example.label.suffix for example in dataset.splits["trainaug"]}
    assert suffixes == {
        **{"2008_train000": ".png", "2008_train001": ".png"},
        **{f"2008_sbd00{number}": ".mat" for number in range(3)},
    }
    assert [example.name for example in dataset.unlabelled["test"]] == [
        "2008_test000",
        "2008_test001",
    ]


@pytest.mark.parametrize("inside", ["VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_alone_and_from_inside(inside, tmp_path):
    trees.write_voc(tmp_path)
    dataset = load_dataset("voc", tmp_path / inside)
    assert list(dataset.splits) == ["train", "val"]
    for split, message in (
        ("trainaug", "benchmark_RELEASE/dataset: no such directory; expected SBD"),
        ("test", "voc test: its labels are not public; see `keras-dpn submit`"),
        ("tset", r"voc has \['train', 'val'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            dataset.examples(split)


def test_cityscapes_lists_what_lacks_its_other_half(tmp_path):
    trees.write_cityscapes(tmp_path)
    next((tmp_path / "leftImg8bit/train").rglob("aachen_*")).unlink()
    next((tmp_path / "gtFine/train").rglob("bochum*labelIds.png")).unlink()
    dataset = load_dataset("cityscapes", tmp_path)
    assert [example.name.split("_")[0] for example in dataset.splits["train"]] == [
        "aachen",
        "bochum",
    ]
    for example in dataset.splits["train"]:
        with pytest.raises(ValueError, match=r"(leftImg8bit|labelIds).png: no such file"):
            dataset.read(example)


def test_camvid_of_cambridge_is_cut_where_segnets_is(tmp_path):
    trees.write_camvid(tmp_path)
    dataset = load_dataset("camvid", tmp_path)
    assert {split: [e.name for e in found] for split, found in dataset.splits.items()} == {
        "train": ["0001TP_008520", "0006R0_f00930", "0016E5_07920", "0016E5_08190"],
        "val": ["0016E5_07959", "0016E5_08159"],
        "test": ["0001TP_008550", "Seq05VD_f00000"],
    }
    trees.picture(tmp_path / "701_StillsRaw_full/holiday.png")
    with pytest.raises(ValueError, match="holiday.png: expected a frame of CamVid"):
        load_dataset("camvid", tmp_path)


def test_pascal_contexts_labels_in_vocs_directory(tmp_path):
    trees.write_pascal_context(tmp_path, "VOCdevkit/VOC2010")
    dataset = load_dataset("pascal_context", tmp_path)
    dataset.read(dataset.splits["val"][0])


def break_label(path, kind):
    """Makes a label map one of those that can't be read."""
    if path.suffix == ".png":
        values = np.array(Image.open(path))
        values[2, 1] = 77
        Image.fromarray(values).save(path)
    elif kind == "S":
        trees.mat(path, S=np.full(trees.SIZE, 34.0))
    elif kind == "LabelMap":
        trees.mat(path, LabelMap=np.full(trees.SIZE, 460))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("voc", "", r"train000.png: value 77 at x=1, y=2; expected 0..20 or 255 \(ignored\)"),
        ("cityscapes", "", "labelIds.png: value 77 at x=1, y=2; expected 0..33. All"),
        ("camvid", "", r"8520_L.png: colour \(77, 77, 77\) at x=1, y=2 belongs to no class"),
        ("sift_flow", "S", "coast_a1.mat: value 34 at x=0, y=0; expected 0..33."),
        ("pascal_context", "LabelMap", "000002.mat: value 460 at x=0, y=0; expected 0..459."),
        ("coco_panoptic", "", r"9.png: colour \(77, 77, 77\) at x=1, y=2 belongs to no class"),
    ],
)
def test_labels_of_no_class(name, kind, message, tmp_path):
    TREES[name][0](tmp_path)
    dataset = load_dataset(name, tmp_path)
    break_label(dataset.splits["train"][0].label, kind)
    with pytest.raises(ValueError, match=message):
        dataset.read(dataset.splits["train"][0])


@pytest.mark.parametrize(
    ("name", "path", "content", "message"),
    [
        ("voc", "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", None, "val.txt: no such file"),
        ("voc", "benchmark_RELEASE/dataset/val.txt", None, "dataset/val.txt: no such file"),
        ("voc", "benchmark_RELEASE/dataset/val.txt", "img/a.jpg", "received 'img/a.jpg'"),
        ("sift_flow", "TestSet1.txt", None, "TestSet1.txt: no such file"),
        ("coco", "annotations/instances_val2017.json", "{", "val2017.json: expected JSON"),
        ("coco", "annotations/instances_val2017.json", "{}", "expected COCO's annot.*'categories'"),
    ],
)
def test_lists_that_are_missing_or_broken(name, path, content, message, tmp_path):
    TREES[name][0](tmp_path)
    (tmp_path / path).unlink()
    if content:
        (tmp_path / path).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_dataset(name, tmp_path)


def test_parts_of_cityscapes_that_are_missing(tmp_path):
    trees.write_cityscapes(tmp_path)
    (tmp_path / "leftImg8bit/train").rename(tmp_path / "elsewhere")
    assert list(load_dataset("cityscapes", tmp_path).splits) == ["val"]
    shutil.rmtree(tmp_path / "leftImg8bit/val")
    with pytest.raises(ValueError, match="leftImg8bit: expected train/ or val/"):
        load_dataset("cityscapes", tmp_path)
    shutil.rmtree(tmp_path / "gtFine")
    with pytest.raises(ValueError, match="gtFine: not there; expected Cityscapes"):
        load_dataset("cityscapes", tmp_path)


def test_a_thing_of_cocos_without_a_shape(tmp_path):
    trees.write_coco(tmp_path)
    path = tmp_path / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = [[1, 2, 3, 4]]
    path.write_text(json.dumps(content))
    dataset = load_dataset("coco", tmp_path)
    with pytest.raises(ValueError, match="image 000000000009 has an object whose shape"):
        dataset.read(dataset.splits["train"][0])
