"""Data sets and the input pipeline."""

from pathlib import Path

from training.data.camvid import CamVidDataset
from training.data.clips import Clip, ClipDataset, ClipFolder
from training.data.dataset import Classes, Dataset, Example
from training.data.flow import FlowCache
from training.data.folder import FolderDataset

NAMES = ("scenes", "context_scenes", "moving_scenes", "camvid", "folder", "clips")


def load_dataset(
    name: str, data_dir: Path | None, *, seed: int = 0, flow_dir: Path | None = None
) -> Dataset:
    """Opens a data set by its name; no picture is read yet.

    Args:
        name: "scenes", "context_scenes" and "moving_scenes" (generated, need no files), "camvid"
            (SegNet's layout), "folder" (`images/`, `labels/`, `splits/`, `classes.json`) or "clips"
            (the same with `clips/`); "moving_scenes", "camvid" and "clips" are each a
            `ClipDataset`.
        data_dir: directory of the data set; None for those that are generated.
        seed: which pictures are generated; the others do not use it.
        flow_dir: where "camvid" and "clips" keep the flow that they compute; None: nowhere.

    Raises:
        ValueError: on an unknown name, a missing directory, or a broken list or `classes.json`.

    Example:
    >>> load_dataset("scenes", None).classes.names[:3]
    ('sky', 'grass', 'house')
    """
    if name not in NAMES:
        raise ValueError(
            f"Invalid value for argument `name`: expected one of {NAMES}, received {name!r}."
        )
    if name == "scenes":
        # Not above: `python -m training.data.scenes` would find itself imported already.
        from training.data.scenes import ScenesDataset

        return ScenesDataset(seed=seed)
    if name == "context_scenes":
        from training.data.context_scenes import ContextScenesDataset

        return ContextScenesDataset(seed=seed)
    if name == "moving_scenes":
        from training.data.moving_scenes import MovingScenesDataset

        return MovingScenesDataset(seed=seed)
    if data_dir is None:
        raise ValueError(
            f"Invalid value for argument `data_dir`: the data set {name!r} is read from files; "
            "name its directory with --data-dir."
        )
    if name == "folder":
        return FolderDataset(data_dir)
    kind = CamVidDataset if name == "camvid" else ClipFolder
    return kind(data_dir, FlowCache(flow_dir))


__all__ = ["NAMES", "Classes", "Clip", "ClipDataset", "Dataset", "Example", "load_dataset"]
