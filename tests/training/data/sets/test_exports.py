"""Datasets as annotation tools export them, from small files."""

import base64
import io
import json
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.io.images import ImageError
from training.data.checks import scan_dataset
from training.data.io.class_files import read_class_dict
from training.data.registry import load_dataset
from training.data.sets.class_dict import ClassDictDataset
from training.data.sets.coco_json import CocoJsonDataset
from training.data.sets.folder import FolderDataset
from training.data.sets.labelmap import LabelmapDataset
from training.data.sets.labelme import LabelmeDataset

COLORS = ((0, 0, 0), (128, 0, 0), (0, 128, 0))
LABELS = np.zeros((8, 10), "uint8")
LABELS[2:5, 3:7], LABELS[6:, 8:] = 1, 2
RECTANGLES = {1: [3, 2, 7, 2, 7, 5, 3, 5], 2: [8, 6, 10, 6, 10, 8, 8, 8]}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def photo(path):
    return save(path, np.full((8, 10, 3), 90, "uint8"))


def colored(labels=LABELS):
    return np.array(COLORS, "uint8")[labels]


def check(dataset, splits=("train", "val")):
    """All splits have the label map, and no issue prevents training."""
    assert set(dataset.splits) == set(splits)
    for examples in dataset.splits.values():
        pixels, labels = dataset.read(examples[0])
        assert pixels.shape == (8, 10, 3)
        np.testing.assert_array_equal(labels, LABELS)
    assert not scan_dataset(dataset, workers=1).errors


def coco(name, shapes=RECTANGLES, categories=None):
    categories = categories or [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {
        "categories": categories,
        "images": [{"id": 5, "file_name": name, "height": 8, "width": 10}],
        "annotations": [
            {"id": n, "image_id": 5, "category_id": n, "segmentation": [shape], "area": 9}
            for n, shape in shapes.items()
        ],
    }


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


# === COCO ===


def test_coco_of_roboflow(tmp_path):
    """Its category 0 is the group of the others, and "valid" a split."""
    group = [{"id": 0, "name": "pets", "supercategory": "none"}]
    pets = [{"id": n, "name": x, "supercategory": "pets"} for n, x in ((1, "cat"), (2, "dog"))]
    for split in ("train", "valid"):
        photo(tmp_path / split / f"{split}.jpg")
        content = coco(f"{split}.jpg", categories=group + pets)
        write_json(tmp_path / split / "_annotations.coco.json", content)
    dataset = CocoJsonDataset(tmp_path)
    assert dataset.classes.names == ("background", "cat", "dog")
    check(dataset)


@pytest.mark.parametrize("folder", ["images", "images/SPLIT"])
def test_coco_of_cvat(tmp_path, folder):
    for split in ("train", "val"):
        photo(tmp_path / folder.replace("SPLIT", split) / "day" / f"{split}.png")
        path = tmp_path / "annotations" / f"instances_{split}.json"
        write_json(path, coco(f"day/{split}.png"))
    check(load_dataset("coco_json", tmp_path))


def test_coco_keeps_images_without_objects_and_ignores_overlaps(tmp_path):
    photo(tmp_path / "images/a.png")
    content = coco("a.png", {1: [0, 0, 4, 0, 4, 4, 0, 4], 2: [2, 0, 6, 0, 6, 4, 2, 4]})
    content["images"].append({"id": 6, "file_name": "b.png", "height": 8, "width": 10})
    write_json(tmp_path / "train.json", content)
    dataset = CocoJsonDataset(tmp_path)
    labels, empty = (dataset.read_labels(example) for example in dataset.splits["train"])
    np.testing.assert_array_equal(labels[0], [1, 1, 255, 255, 2, 2, 0, 0, 0, 0])
    assert not empty.any()


def test_coco_without_shapes(tmp_path):
    """Tools for boxes write an empty list, null, or none: what is in a box isn't known."""
    photo(tmp_path / "images/a.png")
    content = coco("a.png", {1: [0, 0, 4, 0, 4, 4, 0, 4], 2: []})
    content["annotations"][1] |= {"segmentation": [], "bbox": [2, 0, 6, 2]}
    content["annotations"].append({"id": 3, "image_id": 5, "category_id": 2, "bbox": [0, 6, 2, 2]})
    null = {"segmentation": None, "bbox": [8, 6, 2, 2]}
    content["annotations"].append({"id": 4, "image_id": 5, "category_id": 2} | null)
    write_json(tmp_path / "train.json", content)
    dataset = CocoJsonDataset(tmp_path)
    labels = dataset.read_labels(dataset.splits["train"][0])
    np.testing.assert_array_equal(labels[0], [1, 1, 1, 1, 255, 255, 255, 255, 0, 0])
    np.testing.assert_array_equal(labels[7], [255, 255, 0, 0, 0, 0, 0, 0, 255, 255])
    content["annotations"][1]["bbox"] = [1, 2, 3]
    write_json(tmp_path / "train.json", content)
    with pytest.raises(ValueError, match="train.json: expected COCO's annotations"):
        CocoJsonDataset(tmp_path)


def test_a_coco_category_may_be_its_own_group(tmp_path):
    """As COCO's person, here without an object."""
    categories = [{"id": 1, "name": "cat", "supercategory": "animal"}]
    categories += [{"id": 2, "name": "person", "supercategory": "person"}]
    content = coco("a.png", {1: RECTANGLES[1]}, categories)
    write_json(tmp_path / "train.json", content)
    assert CocoJsonDataset(tmp_path).classes.names == ("background", "cat", "person")


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "a\\b.jpg", "C:a", 5])
def test_coco_names_that_lead_elsewhere_are_refused(tmp_path, name):
    write_json(tmp_path / "train.json", coco(name))
    with pytest.raises(ValueError, match=r"train.json: .* below the images' directory"):
        CocoJsonDataset(tmp_path)


@pytest.mark.parametrize("content", [[], {}, {"categories": [], "images": [], "annotations": 3}])
def test_no_coco(tmp_path, content):
    with pytest.raises(ValueError, match="none there"):
        CocoJsonDataset(tmp_path)
    write_json(tmp_path / "train.json", content)
    with pytest.raises(ValueError, match="expected COCO's"):
        CocoJsonDataset(tmp_path)


# === labelme ===


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_in_names_have_two_forms(tmp_path, form):
    """Names on macOS are NFD, those in lists and annotations mostly NFC."""
    name, other = (normalize(f, "Café") for f in (form, "NFD" if form == "NFC" else "NFC"))
    photo(tmp_path / "coco/images" / f"{name}.jpg")
    write_json(tmp_path / "coco/train.json", coco(f"{other}.jpg"))
    check(CocoJsonDataset(tmp_path / "coco"), ["train"])
    photo(tmp_path / "labelme/train" / f"{name}.jpg")
    write_json(tmp_path / "labelme/train/a.json", labelme(f"{other}.jpg"))
    check(LabelmeDataset(tmp_path / "labelme"), ["train"])
    labelmap(tmp_path / "labelmap")
    (tmp_path / "labelmap/ImageSets/Segmentation/val.txt").write_text(f"{other}\n", "utf-8")
    photo(tmp_path / f"labelmap/JPEGImages/{name}.png")
    save(tmp_path / f"labelmap/SegmentationClass/{name}.png", colored())
    check(LabelmapDataset(tmp_path / "labelmap"))
    folder = tmp_path / "folder"
    write_json(folder / "classes.json", {"names": ["x", "y", "z"], "colors": COLORS})
    photo(folder / f"images/{name}.jpg")
    save(folder / f"labels/{other}.png", LABELS)
    (folder / "splits").mkdir()
    for split, entry in (("train", other), ("val", f"{other}.jpg")):
        (folder / "splits" / f"{split}.txt").write_text(entry, "utf-8")
    dataset = FolderDataset(folder)
    for split in ("train", "val"):
        np.testing.assert_array_equal(dataset.read(dataset.splits[split][0])[1], LABELS)


def test_files_of_macos_are_passed_over(tmp_path):
    """There is a ._NAME next to each NAME on file systems of others."""
    photo(tmp_path / "labelme/train/a.jpg")
    write_json(tmp_path / "labelme/train/a.json", labelme())
    photo(tmp_path / "coco/images/a.jpg")
    write_json(tmp_path / "coco/train.json", coco("a.jpg"))
    labelmap(tmp_path / "labelmap")
    for file in [*tmp_path.rglob("*.*")]:
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X \xff")
    check(LabelmeDataset(tmp_path / "labelme"), ["train"])
    check(CocoJsonDataset(tmp_path / "coco"), ["train"])
    check(LabelmapDataset(tmp_path / "labelmap"))


def labelme(image="a.jpg", shapes=None):
    rectangles = [
        {"label": name, "points": np.reshape(RECTANGLES[n], (-1, 2)).tolist()}
        for n, name in ((1, "cat"), (2, "dog"))
    ]
    shapes = rectangles if shapes is None else shapes
    return {"shapes": shapes, "imagePath": image, "imageHeight": 8, "imageWidth": 10}


def test_labelme(tmp_path):
    for split in ("train", "valid"):
        photo(tmp_path / split / "day" / "a.jpg")
        write_json(tmp_path / split / "day" / "a.json", labelme())
    dataset = LabelmeDataset(tmp_path)
    assert dataset.classes.names == ("background", "cat", "dog")
    check(dataset)


def test_labelme_draws_in_order_and_ignores(tmp_path):
    photo(tmp_path / "train/a.jpg")
    shapes = [
        {"label": "cat", "points": [[0, 0], [6, 4]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[6, 4], [4, 0]], "shape_type": "rectangle"},
        {"label": "__ignore__", "points": [[8, 6], [8, 7.4]], "shape_type": "circle"},
        {"label": "_background_", "points": [[0, 0], [0, 2], [2, 2], [2, 0]]},
    ]
    write_json(tmp_path / "train/a.json", labelme(shapes=shapes))
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndog\ncat\n")
    dataset = LabelmeDataset(tmp_path)
    assert dataset.classes.names == ("background", "dog", "cat")
    labels = dataset.read_labels(dataset.splits["train"][0])
    np.testing.assert_array_equal(labels[0], [0, 0, 2, 2, 1, 1, 0, 0, 0, 0])
    assert labels[6, 8] == 255 and labels[7, 0] == 0
    assert 4 <= (labels == 255).sum() <= 9


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "labelme's annotations; KeyError"),
        ([], "labelme's annotations"),
        (labelme(image="../../a.jpg"), "expected an image in"),
        (labelme(image="a\0.jpg"), "a.json: expected labelme's annotations"),
        (labelme(shapes=[{"points": []}]), "labelme's annotations"),
    ],
)
def test_no_labelme(tmp_path, content, words):
    with pytest.raises(ValueError, match="expected train/"):
        LabelmeDataset(tmp_path)
    write_json(tmp_path / "train/a.json", content)
    with pytest.raises(ValueError, match=words):
        LabelmeDataset(tmp_path)


def test_labelme_masks(tmp_path):
    photo(tmp_path / "train/a.jpg")
    stream = io.BytesIO()
    Image.fromarray(np.array([[1, 0, 1], [1, 1, 1]], bool)).save(stream, "PNG")
    mask = {
        "label": "cat",
        "shape_type": "mask",
        "mask": base64.b64encode(stream.getvalue()).decode(),
    }
    mask["points"] = [[7, 2], [9, 3]]
    write_json(tmp_path / "train/a.json", labelme(shapes=[mask]))
    dataset = LabelmeDataset(tmp_path)
    labels = dataset.read_labels(dataset.splits["train"][0])
    np.testing.assert_array_equal(labels[2:4, 6:], [[0, 1, 0, 1], [0, 1, 1, 1]])
    assert labels.sum() == 5
    for wrong, words in (
        ({"points": [[8, 2], [10, 3]]}, "leads out of the image"),
        ({"points": [[-1, 2], [1, 3]]}, "leads out of the image"),
        ({"points": [[1e999, 2]]}, "expected a mask"),
        ({"mask": "AAAA"}, "a mask: can't be read as an image"),
        ({"mask": None}, "expected a mask"),
    ):
        write_json(tmp_path / "train/a.json", labelme(shapes=[mask | wrong]))
        dataset = LabelmeDataset(tmp_path)
        with pytest.raises(ImageError, match=f"a.json.*{words}"):
            dataset.read_labels(dataset.splits["train"][0])


@pytest.mark.parametrize(
    "named", ["C:\\photos\\a.jpg", "/photos/a.jpg", "../old/a.jpg", "..\\train\\a.jpg"]
)
def test_labelme_files_that_were_moved(tmp_path, named):
    photo(tmp_path / "train" / "a.jpg")
    write_json(tmp_path / "train" / "a.json", labelme(named))
    check(LabelmeDataset(tmp_path), ["train"])


def test_labelme_shapes_that_have_no_area(tmp_path):
    photo(tmp_path / "train/a.jpg")
    line = {"label": "cat", "points": [[0, 0], [6, 4]], "shape_type": "line"}
    write_json(tmp_path / "train/a.json", labelme(shapes=[line]))
    dataset = LabelmeDataset(tmp_path)
    with pytest.raises(ImageError, match=r"a.json: expected polygons.* received 'line'"):
        dataset.read_labels(dataset.splits["train"][0])
    huge = {"label": "cat", "points": [[0, 0], [6, 10**400], [1, 1]]}
    write_json(tmp_path / "train/a.json", labelme(shapes=[huge]))
    dataset = LabelmeDataset(tmp_path)
    with pytest.raises(ImageError, match=r"a.json: expected points, received OverflowError"):
        dataset.read_labels(dataset.splits["train"][0])
    (tmp_path / "labels.txt").write_text("dog\n")
    with pytest.raises(ValueError, match=r"labels.txt: .*'cat'"):
        LabelmeDataset(tmp_path)


# === CVAT's and Datumaro's masks ===


def labelmap(folder, text=None):
    lines = [f"{n}:{','.join(map(str, c))}::" for n, c in zip("xyz", COLORS, strict=True)]
    folder.mkdir(exist_ok=True)
    text = "\n".join(["# label:color_rgb:parts:actions", *lines]) if text is None else text
    (folder / "labelmap.txt").write_text(text)
    lists = folder / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for split in ("train", "val"):
        (lists / f"{split}.txt").write_text(f"day/{split}\n")
        photo(folder / f"JPEGImages/day/{split}.png")
        save(folder / f"SegmentationClass/day/{split}.png", colored())


def test_labelmap(tmp_path):
    labelmap(tmp_path)
    # A program that makes files smaller: the colours become a palette, in any order.
    path = tmp_path / "SegmentationClass/day/val.png"
    Image.fromarray(colored()).quantize(3).save(path)
    assert not np.array_equal(np.asarray(Image.open(path)), LABELS)
    dataset = load_dataset("labelmap", tmp_path)
    assert dataset.classes.names == ("x", "y", "z") and dataset.classes.colors == COLORS
    check(dataset)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x:0,0,0::\ny:0,0,0::", "labelmap.txt: `colors`: x and y have the same colour"),
        ("x:0,0::", "labelmap.txt, line 1: expected a class's name"),
        ("x:0,0,300::", "labelmap.txt: `colors`"),
        ("", "labelmap.txt: `names`"),
    ],
)
def test_broken_labelmaps(tmp_path, text, words):
    labelmap(tmp_path, text)
    with pytest.raises(ValueError, match=words):
        LabelmapDataset(tmp_path)


def test_labelmap_lists_do_not_lead_elsewhere(tmp_path):
    labelmap(tmp_path)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("../../secret")
    with pytest.raises(ValueError, match="train.txt: expected names below"):
        LabelmapDataset(tmp_path)


# === class_dict.csv ===


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("train/a.jpg", "train_labels/a_L.png"),
        ("train/a.jpg", "train_labels/a.png"),
        ("train/a_sat.jpg", "train/a_mask.png"),
    ],
)
def test_class_dict_of_kaggle(tmp_path, image, label):
    rows = [f"{n}, {r},{g},{b}" for n, (r, g, b) in zip("xyz", COLORS, strict=True)]
    (tmp_path / "class_dict.csv").write_text("\n".join(["name,r,g,b", *rows]))
    for split in ("train", "val"):
        photo(tmp_path / image.replace("train", split))
        save(tmp_path / label.replace("train", split), colored())
    photo(tmp_path / "test/b.jpg")
    dataset = load_dataset("class_dict", tmp_path)
    assert dataset.classes.names == ("x", "y", "z")
    assert [example.name for example in dataset.unlabelled["test"]] == ["b"]
    check(dataset)
    photo(tmp_path / "train/c.jpg")
    issues = scan_dataset(ClassDictDataset(tmp_path), workers=1).errors
    assert [issue.type for issue in issues] == ["missing"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffName;R;G;B\r\nx;0;0;0\r\ny;128;0;0\r\nz;0;128;0\r\n",
        "x,0,0,0\ny,128,0,0\nz,0,128,0",
        "name\tr\tg\tb\nx\t0\t0\t0\ny\t128\t0\t0\n\nz\t0\t128\t0\n",
        'name, r, g, b, note\nx, 0, 0, 0, "a, b"\n y , 128, 0, 0,\nz, 0, 128, 0,\n',
    ],
)
def test_class_dicts_of_spreadsheets(tmp_path, text):
    (tmp_path / "class_dict.csv").write_bytes(text.encode())
    assert read_class_dict(tmp_path / "class_dict.csv") == Classes(("x", "y", "z"), COLORS)


def test_class_dict_of_roboflow(tmp_path):
    for split in ("train", "valid"):
        photo(tmp_path / split / "a.jpg")
        save(tmp_path / split / "a_mask.png", LABELS * 10)
        classes = "Pixel Value, Class\n0, unlabeled\n10, cat\n20, dog\n"
        (tmp_path / split / "_classes.csv").write_text(classes)
    dataset = ClassDictDataset(tmp_path)
    assert dataset.classes.names == ("unlabeled", "cat", "dog")
    check(dataset)
    (tmp_path / "valid/_classes.csv").write_text("Pixel Value, Class\n0, cat\n")
    with pytest.raises(ValueError, match="must agree"):
        ClassDictDataset(tmp_path)


def test_no_class_dict(tmp_path):
    with pytest.raises(ValueError, match="class_dict.csv: no such file"):
        ClassDictDataset(tmp_path)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nx,0,0\n")
    with pytest.raises(ValueError, match="class_dict.csv, line 2"):
        ClassDictDataset(tmp_path)
