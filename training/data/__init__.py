"""Data sets and the input pipeline."""

from pathlib import Path

from training.data.camvid import CamVidDataset
from training.data.dataset import Classes, Dataset, Example
from training.data.folder import FolderDataset

NAMES = ("scenes", "camvid", "folder")


def load_dataset(name: str, data_dir: Path | None, *, seed: int = 0) -> Dataset:
    """Opens a data set by its name; no picture is read yet.

    Args:
        name: "scenes" (generated, needs no files), "camvid" (SegNet's layout) or "folder"
            (`images/`, `labels/`, `splits/`, `classes.json`).
        data_dir: directory of the data set; None for "scenes".
        seed: which pictures "scenes" makes; the others do not use it.

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
    if data_dir is None:
        raise ValueError(
            f"Invalid value for argument `data_dir`: the data set {name!r} is read from files; "
            "name its directory with --data-dir."
        )
    return CamVidDataset(data_dir) if name == "camvid" else FolderDataset(data_dir)


__all__ = ["NAMES", "Classes", "Dataset", "Example", "load_dataset"]
