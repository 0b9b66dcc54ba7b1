"""The datasets by name, and the files that identify their directories."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..configs.datasets import GENERATED, NAMES, WITH_CLIPS, DatasetName

if TYPE_CHECKING:
    from .dataset import Dataset


@dataclass(frozen=True)
class DatasetInfo:
    """A description of a dataset, before its module is imported.

    Args:
        name: its name on the command line and in configurations.
        target: "module:Class" of its reader, below this package.
        marks: files or directories that its directory has and those of others don't.
    """

    name: DatasetName
    target: str
    marks: tuple[str, ...] = ()

    @property
    def is_generated(self) -> bool:
        """Whether it needs no files."""
        return self.name in GENERATED

    @property
    def has_clips(self) -> bool:
        """Whether its class is a `ClipDataset`."""
        return self.name in WITH_CLIPS

    def load_class(self) -> type:
        """Import the class that reads it."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(f".{module}", __package__), name)


_INFOS = (
    DatasetInfo("scenes", "generated.scenes:ScenesDataset"),
    DatasetInfo("context_scenes", "generated.context_scenes:ContextScenesDataset"),
    DatasetInfo("houses", "generated.houses:HousesDataset"),
    DatasetInfo("moving_scenes", "generated.moving_scenes:MovingScenesDataset"),
    DatasetInfo(
        "camvid",
        "sets.camvid:CamVidDataset",
        ("trainannot", "valannot", "701_StillsRaw_full", "LabeledApproved_full"),
    ),
    DatasetInfo(
        "voc",
        "sets.voc:VOCDataset",
        ("VOCdevkit/VOC2012", "VOC2012", "ImageSets/Segmentation"),
    ),
    DatasetInfo("cityscapes", "sets.cityscapes:CityscapesDataset", ("leftImg8bit", "gtFine")),
    DatasetInfo(
        "pascal_context",
        "sets.pascal_context:PascalContextDataset",
        ("VOCdevkit/VOC2010", "VOC2010"),
    ),
    DatasetInfo("sift_flow", "sets.sift_flow:SiftFlowDataset", ("SemanticLabels", "TestSet1.txt")),
    DatasetInfo(
        "coco",
        "sets.coco:CocoDataset",
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
    ),
    DatasetInfo(
        "coco_panoptic",
        "sets.coco:CocoPanopticDataset",
        ("annotations/panoptic_train2017.json", "annotations/panoptic_val2017.json"),
    ),
    DatasetInfo(
        "coco_json",
        "sets.coco_json:CocoJsonDataset",
        ("train/_annotations.coco.json", "annotations/instances_default.json"),
    ),
    DatasetInfo("labelme", "sets.labelme:LabelmeDataset"),
    DatasetInfo("labelmap", "sets.labelmap:LabelmapDataset", ("labelmap.txt",)),
    DatasetInfo(
        "class_dict",
        "sets.class_dict:ClassDictDataset",
        ("class_dict.csv", "class_dict_seg.csv", "train/_classes.csv"),
    ),
    # Clips first: a directory of clips has a classes.json, too.
    DatasetInfo("clips", "clips.folder:ClipFolder", ("clips",)),
    DatasetInfo("folder", "sets.folder:FolderDataset", ("classes.json",)),
    DatasetInfo("shards", "shards.dataset:ShardsDataset"),
)
DATASETS: dict[str, DatasetInfo] = {info.name: info for info in _INFOS}


def load_dataset(
    name: str, data_dir: Path | None, *, seed: int = 0, flow_dir: Path | None = None
) -> "Dataset":
    """Open a dataset by its name; no image is read yet.

    Args:
        name: "scenes", "context_scenes", "houses" or "moving_scenes" (generated, need no files);
            "camvid", "voc", "cityscapes", "pascal_context", "sift_flow", "coco" or
            "coco_panoptic", each in the layout in which it is published; "coco_json", "labelme",
            "labelmap" (CVAT, Datumaro) or "class_dict" (Kaggle, Roboflow), as these tools export
            your own images; "folder" (`images/`, `labels/`, `splits/`, `classes.json`) or "clips"
            (the same with `clips/`); or "shards", written by `keras-dpn pack` from one of these.
            "moving_scenes", "camvid" and "clips" are each a `ClipDataset`.
        data_dir: directory of the dataset, of shards also an address such as gs://bucket/shards;
            None for generated ones.
        seed: seed of generated images; the others ignore it.
        flow_dir: directory of the flow cache of "camvid" and "clips"; None: no cache.

    Raises:
        ValueError: on an unknown name, a missing directory, one of another dataset, or a broken
            list or `classes.json`.

    Example:
    >>> load_dataset("scenes", None).classes.names[:3]
    ('sky', 'grass', 'house')
    """
    if name not in DATASETS:
        raise ValueError(
            f"Invalid value for argument `name`: expected one of {NAMES}, received {name!r}."
        )
    info = DATASETS[name]
    if info.is_generated:
        return info.load_class()(seed=seed)
    if data_dir is None:
        raise ValueError(
            f"Invalid value for argument `data_dir`: the dataset {name!r} is read from files; "
            "name its directory with --data-dir."
        )
    if name == "shards":
        return info.load_class()(data_dir)
    try:
        if info.has_clips:
            from .clips.flow import FlowCache

            return info.load_class()(data_dir, FlowCache(flow_dir))
        return info.load_class()(data_dir)
    except ValueError as error:
        raise ValueError(f"{error}{_hint(Path(data_dir), name)}") from error


def _hint(data_dir: Path, name: str) -> str:
    """Return the end of a message: which other dataset the directory looks like.

    Args:
        data_dir: the directory.
        name: the dataset that it was said to be.

    Returns:
        The sentence after a space; nothing if the directory looks like that dataset or like none.
    """
    if not data_dir.is_dir():
        return f" {data_dir}: no such directory."
    marks = {
        info.name: next((mark for mark in info.marks if (data_dir / mark).exists()), None)
        for info in DATASETS.values()
    }
    similar = [other for other, mark in marks.items() if mark]
    if not similar or name in similar:
        return ""
    return f" {data_dir} has {marks[similar[0]]}: it looks like the dataset {similar[0]!r}."
