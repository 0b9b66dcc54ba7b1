"""The names of the datasets.

`training.data.registry` maps them to the classes that read them.
"""

from typing import Literal, get_args

GeneratedName = Literal["scenes", "context_scenes", "houses", "moving_scenes"]
"""Datasets of generated images, which need no files."""

DatasetName = Literal[
    GeneratedName,
    "camvid",
    "voc",
    "cityscapes",
    "pascal_context",
    "sift_flow",
    "coco",
    "coco_panoptic",
    "coco_json",
    "labelme",
    "labelmap",
    "class_dict",
    "folder",
    "clips",
    "shards",
]

ClipDatasetName = Literal["moving_scenes", "camvid", "clips"]
"""Datasets whose images are frames of sequences."""

NAMES: tuple[DatasetName, ...] = get_args(DatasetName)
GENERATED: tuple[DatasetName, ...] = get_args(GeneratedName)
WITH_CLIPS: tuple[DatasetName, ...] = get_args(ClipDatasetName)
