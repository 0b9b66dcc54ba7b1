"""Writes tiny data sets in the formats in which the real ones are published.

Each function fills a directory and returns the labels that a reader must find, by example's name.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from training.data.sets import camvid, cityscapes, pascal_context, sift_flow, voc

SIZE = (12, 16)  # of all pictures but COCO's
_PICTURES = np.random.default_rng(0)


def write_voc(root: Path, train: int = 2, val: int = 2, sbd: int = 3, test: int = 2) -> dict:
    """VOC 2012, and SBD, whose lists have VOC's pictures too."""
    kit, lists = root / "VOCdevkit/VOC2012", {}
    for split, count in (("train", train), ("val", val), ("test", test), ("sbd", sbd)):
        lists[split] = [f"2008_{split}{number:03}" for number in range(count)]
    labels = {}
    for position, name in enumerate(sum(lists.values(), [])):
        picture(kit / f"JPEGImages/{name}.jpg")
        if name in lists["train"] + lists["val"]:
            labels[name] = _thing(1 + position % 20, border=255)
            png(kit / f"SegmentationClass/{name}.png", labels[name], voc.color_map(256))
        if name in lists["train"] + lists["val"][:1] + lists["sbd"]:
            found = _thing(1 + position % 20)
            write_sbd(root / f"benchmark_RELEASE/dataset/cls/{name}.mat", found)
            labels.setdefault(name, found)
    for split in ("train", "val", "test"):
        text(kit / f"ImageSets/Segmentation/{split}.txt", lists[split])
    text(root / "benchmark_RELEASE/dataset/train.txt", lists["val"][:1] + lists["sbd"][:-1])
    text(root / "benchmark_RELEASE/dataset/val.txt", lists["train"] + lists["sbd"][-1:])
    return labels


def write_sbd(path: Path, labels: np.ndarray) -> None:
    """A label map as SBD has it: beside it the outlines, by class, and the classes."""
    outlines = np.empty((20, 1), object)
    for label in range(1, 21):
        outlines[label - 1, 0] = csc_matrix(labels == label, dtype=float)
    present = np.unique(labels[labels > 0])[:, None]
    structure = {"Boundaries": outlines, "Segmentation": labels, "CategoriesPresent": present}
    mat(path, GTcls=structure)


def write_cityscapes(root: Path) -> dict:
    """Cityscapes: two cities in train, one in val and in test."""
    labels = {}
    for name in ("train/aachen", "train/bochum", "val/lindau", "test/berlin"):
        split, city = name.split("/")
        stem = f"{city}_000000_000019"
        picture(root / f"leftImg8bit/{name}/{stem}_leftImg8bit.png")
        if split == "test":  # the public files say no more than where the car itself is
            ids = np.full(SIZE, 3, "uint8")
        else:
            ids = np.resize(np.arange(34, dtype="uint8"), SIZE)
            labels[stem] = np.full(SIZE, 255, "uint8")
            for label, number in enumerate(cityscapes.IDS):
                labels[stem][ids == number] = label
        ground = root / f"gtFine/{name}"
        png(ground / f"{stem}_gtFine_labelIds.png", ids)
        picture(ground / f"{stem}_gtFine_color.png")
    return labels


def write_camvid(root: Path) -> dict:
    """CamVid as Cambridge ships it: a frame or two of each part of the splits."""
    names = ("0001TP_008520", "0001TP_008550", "0006R0_f00930", "0016E5_07920", "0016E5_07959")
    names += ("0016E5_08159", "0016E5_08190", "Seq05VD_f00000")
    colors = np.array([color for color, _ in camvid.CAMBRIDGE.values()], "uint8")
    groups = [group for _, group in camvid.CAMBRIDGE.values()]
    of = np.array([camvid.CLASSES.names.index(g) if g else 11 for g in groups], "uint8")
    labels = {}
    for position, name in enumerate(names):
        picture(root / f"701_StillsRaw_full/{name}.png")
        places = np.resize(np.roll(np.arange(32), position), SIZE)
        png(root / f"LabeledApproved_full/{name}_L.png", colors[places])
        labels[name] = of[places]
    return labels


def write_pascal_context(root: Path, folder: str = ".") -> dict:
    """PASCAL-Context's labels, in a folder beside VOC 2010 or in it."""
    labels = {}
    for split, names in {"train": ("2008_000002", "2008_000003"), "val": ("2010_000001",)}.items():
        text(root / f"VOCdevkit/VOC2010/ImageSets/Main/{split}.txt", names)
        for position, name in enumerate(names):
            picture(root / f"VOCdevkit/VOC2010/JPEGImages/{name}.jpg")
            numbers = np.resize(np.roll(np.arange(460), 150 * position), SIZE).astype("uint16")
            mat(root / folder / f"trainval/{name}.mat", LabelMap=numbers)
            labels[name] = np.zeros(SIZE, "uint8")
            for label, number in enumerate(pascal_context.IDS.values(), start=1):
                labels[name][numbers == number] = label
    return labels


def write_sift_flow(root: Path) -> dict:
    """SIFT Flow: three pictures of training, one of the test, and one that nobody labelled."""
    scenes, labels = "spatial_envelope_256x256_static_8outdoorcategories", {}
    names = np.array(sift_flow.CLASSES.names, object)[:, None]
    for name in ("coast_a1", "forest_b2", "street_par1", "coast_natu975", "highway_bost181"):
        picture(root / f"Images/{scenes}/{name}.jpg")
        if name != "highway_bost181":
            numbers = np.resize(np.arange(34, dtype="float64"), SIZE)
            mat(root / f"SemanticLabels/{scenes}/{name}.mat", S=numbers, names=names)
            labels[name] = np.where(numbers == 0, 255, numbers - 1)
    text(root / "TestSet1.txt", [f"{scenes}\\coast_natu975.jpg"])
    return labels


def write_coco(root: Path) -> dict:
    """COCO's instances: in each split one picture with enough labels and one without."""
    return _write_coco(root, "instances", _instances)


def write_coco_panoptic(root: Path) -> dict:
    """The same with its panoptic annotations."""
    return _write_coco(root, "panoptic", _panoptic)


def _write_coco(root: Path, kind: str, annotate: Callable) -> dict:
    labels = {}
    for split, number in (("train", 9), ("val", 20)):
        names = [f"{number + position:012}" for position in range(2)]
        for name in names:
            picture(root / f"{split}2017/{name}.jpg", (40, 50))
        found, labels[names[0]] = annotate(root, split, names)
        found["categories"] = [{"id": number, "name": n} for n, number in _CATEGORIES.items()]
        text(root / f"annotations/{kind}_{split}2017.json", [json.dumps(found)])
    return labels


_CATEGORIES = {
    "person": 1,
    "bicycle": 2,
    "car": 3,
    "motorcycle": 4,
    "airplane": 5,
    "bus": 6,
    "train": 7,
    "boat": 9,
    "bird": 16,
    "cat": 17,
    "dog": 18,
    "horse": 19,
    "sheep": 20,
    "cow": 21,
    "zebra": 24,
    "bottle": 44,
    "chair": 62,
    "couch": 63,
    "potted plant": 64,
    "dining table": 67,
    "tv": 72,
}
_PERSON, _ZEBRA, _COUCH, _PLANT = 1, 24, 63, 64


def _instances(root: Path, split: str, names: list[str]) -> tuple[dict, np.ndarray]:
    # A person on a couch, a zebra, and a crowd over the couch's edge: x, y, width, height.
    boxes = {_PERSON: (5, 5, 20, 20), _COUCH: (5, 15, 40, 20), _ZEBRA: (0, 0, 4, 40)}
    annotations = [
        {
            "image_id": int(names[0]),
            "category_id": category,
            "iscrowd": 0,
            "area": width * height,
            "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
        }
        for category, (x, y, width, height) in boxes.items()
    ]
    crowd = np.zeros((40, 50), "uint8")
    crowd[30:, 10:30] = 1
    counts = _runs(crowd)
    crowds = {"image_id": int(names[0]), "category_id": _PERSON, "iscrowd": 1, "area": 200.0}
    annotations.append(crowds | {"segmentation": {"size": [40, 50], "counts": counts}})
    small = annotations[0] | {"image_id": int(names[1]), "area": 999.0}
    images = [
        {"id": int(name), "file_name": f"{name}.jpg", "height": 40, "width": 50} for name in names
    ]
    labels = np.zeros((40, 50), "uint8")
    labels[5:25, 5:25], labels[15:35, 5:45] = 15, 18
    labels[15:25, 5:25] = 255  # which is in front is not said
    labels[35:, 10:30] = 255
    return {"images": images, "annotations": [*annotations, small]}, labels


def _panoptic(root: Path, split: str, names: list[str]) -> tuple[dict, np.ndarray]:
    numbers = np.zeros((40, 50), "int64")
    numbers[:, 5:] = 7  # zebra
    numbers[5:25, 5:], numbers[30:, 5:], numbers[:3] = 300, 65536 * 9 + 1, 258
    colors = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], axis=-1)
    segments = [
        {"id": 7, "category_id": _ZEBRA, "iscrowd": 0, "area": 600},
        {"id": 300, "category_id": _PLANT, "iscrowd": 0, "area": 900},
        {"id": 65536 * 9 + 1, "category_id": _PERSON, "iscrowd": 0, "area": 450},
        {"id": 258, "category_id": _PERSON, "iscrowd": 1, "area": 150},
    ]
    annotations = []
    for name, listed in ((names[0], segments), (names[1], segments[:1])):
        png(root / f"annotations/panoptic_{split}2017/{name}.png", colors.astype("uint8"))
        annotations.append({"file_name": f"{name}.png", "segments_info": listed})
    labels = np.full((40, 50), 255, "uint8")
    labels[numbers == 7], labels[numbers == 300], labels[numbers == 65536 * 9 + 1] = 0, 16, 15
    return {"annotations": annotations}, labels


def _runs(mask: np.ndarray) -> list[int]:
    """The lengths of runs of 0 and 1 by columns, as COCO's files have crowds."""
    flat = mask.ravel(order="F")
    ends = [0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]
    counts = [int(n) for n in np.diff(ends)]
    return [0, *counts] if flat[0] else counts


def _thing(label: int, border: int | None = None) -> np.ndarray:
    """Background with a rectangle of a class."""
    labels = np.zeros(SIZE, "uint8")
    if border is not None:
        labels[2:9, 3:12] = border
    labels[3:8, 4:11] = label
    return labels


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    """A photograph."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_PICTURES.integers(0, 256, (*size, 3), "uint8")).save(path)


def png(path: Path, values: np.ndarray, palette: tuple | None = None) -> None:
    """A map of numbers, with a palette or without, or of colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette(np.array(palette, "uint8").tobytes())
    image.save(path)


def mat(path: Path, **variables) -> None:
    """A .mat file as MATLAB 7 writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables, do_compression=True)


def text(path: Path, lines: list[str] | tuple[str, ...]) -> None:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
