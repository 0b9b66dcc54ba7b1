"""Data sets and the input pipeline."""

import importlib
from pathlib import Path

from . import layouts
from .clips.base import Clip, ClipDataset, ClipFolder
from .clips.flow import FlowCache
from .dataset import Dataset, Example
from .sets.camvid import CamVidDataset
from .sets.cityscapes import CityscapesDataset
from .sets.coco import CocoDataset, CocoPanopticDataset
from .sets.folder import FolderDataset
from .sets.pascal_context import PascalContextDataset
from .sets.sift_flow import SiftFlowDataset
from .sets.voc import VOCDataset

# Modules that make pictures, and their classes.
_GENERATED = {
    "scenes": "ScenesDataset",
    "context_scenes": "ContextScenesDataset",
    "houses": "HousesDataset",
    "moving_scenes": "MovingScenesDataset",
}
_OF_FILES = {
    kind.name: kind
    for kind in (
        CamVidDataset,
        VOCDataset,
        CityscapesDataset,
        PascalContextDataset,
        SiftFlowDataset,
        CocoDataset,
        CocoPanopticDataset,
        FolderDataset,
        ClipFolder,
    )
}
NAMES = (*_GENERATED, *_OF_FILES, "shards")


def load_dataset(
    name: str, data_dir: Path | None, *, seed: int = 0, flow_dir: Path | None = None
) -> Dataset:
    """Opens a data set by its name; no picture is read yet.

    Args:
        name: "scenes", "context_scenes", "houses" and "moving_scenes" (generated, need no files);
            "camvid", "voc", "cityscapes", "pascal_context", "sift_flow", "coco" and
            "coco_panoptic", each in the layout in which it is published; "folder" (`images/`,
            `labels/`, `splits/`, `classes.json`) or "clips" (the same with `clips/`); or "shards",
            what `training.pack` made of one of these. "moving_scenes", "camvid" and "clips" are
            each a `ClipDataset`.
        data_dir: directory of the data set, of shards also an address as gs://bucket/shards; None
            for those that are generated.
        seed: which pictures are generated; the others do not use it.
        flow_dir: where "camvid" and "clips" keep the flow that they compute; None: nowhere.

    Raises:
        ValueError: on an unknown name, a missing directory, one of another data set, or a broken
            list or `classes.json`.

    Example:
    >>> load_dataset("scenes", None).classes.names[:3]
    ('sky', 'grass', 'house')
    """
    if name not in NAMES:
        raise ValueError(
            f"Invalid value for argument `name`: expected one of {NAMES}, received {name!r}."
        )
    if name in _GENERATED:
        # Not above: `python -m training.data.scenes` would find itself imported already.
        module = importlib.import_module(f"..generated.{name}", __name__)
        return getattr(module, _GENERATED[name])(seed=seed)
    if data_dir is None:
        raise ValueError(
            f"Invalid value for argument `data_dir`: the data set {name!r} is read from files; "
            "name its directory with --data-dir."
        )
    if name == "shards":
        # Not above: it needs TensorFlow, and readers of other data sets start without.
        from .shards.dataset import ShardsDataset

        return ShardsDataset(data_dir)
    kind = _OF_FILES[name]
    try:
        if issubclass(kind, ClipDataset):
            return kind(data_dir, FlowCache(flow_dir))
        return kind(data_dir)
    except ValueError as error:
        raise ValueError(f"{error}{layouts.hint(Path(data_dir), name)}") from error


__all__ = ["NAMES", "Clip", "ClipDataset", "Dataset", "Example", "load_dataset"]
