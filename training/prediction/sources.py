"""The images and videos that a command line names."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_dpn.io import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from keras_dpn.presets.files import WEIGHTS
from keras_dpn.presets.source import find

from ..rundir.paths import MODEL
from .images import KINDS as PICTURE_KINDS

KINDS = (*PICTURE_KINDS, "videos")  # a folder under `out` for each


def find_sources(
    paths: Sequence[Path], out: Path, as_video: bool = False
) -> tuple[dict[str, Path], dict[str, Path]]:
    """The pictures and the videos that paths stand for, by names that differ from each other.

    Folders count with their subfolders, without what an earlier run wrote under `out`. A name is
    the file's path below the folder that all files share, without its suffix, or with it where
    names would be the same (a.jpg and a.png).

    Args:
        paths: files, folders, or patterns with * and ? (** for any depth).
        out: directory for the results.
        as_video: each folder among the paths is one video, its pictures are the frames.

    Raises:
        ValueError: if a path does not exist, or nothing is found in it; if a result would
            overwrite what it is made from; with `as_video`, if no path is a folder.
    """
    folders = [path for path in paths if as_video and path.is_dir()]
    if as_video and not folders:
        raise ValueError("--as-video: expected a folder of frames among the paths, found none.")
    found = dict.fromkeys(folders)
    for path in paths:
        files = sorted(_expand(path, out)) if path not in found else [path]
        if not files:
            raise ValueError(
                f"{path}: no picture or video found. Give files, folders or quoted patterns."
            )
        found |= dict.fromkeys(files)
    absolute = list(dict.fromkeys(Path(os.path.abspath(path)) for path in found))
    root = Path(os.path.commonpath([path.parent for path in absolute]))
    pictures = [path for path in absolute if not _is_video(path)]
    videos = [path for path in absolute if _is_video(path)]
    return (
        _named(pictures, root, lambda name: [out / kind / f"{name}.png" for kind in KINDS]),
        _named(videos, root, lambda name: _video_results(name, out)),
    )


def _is_video(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES


def _named(
    sources: Sequence[Path], root: Path, results: Callable[[str], list[Path]]
) -> dict[str, Path]:
    relative = [path.relative_to(root) for path in sources]
    names = [
        str(path if source.is_dir() else path.with_suffix(""))
        for source, path in zip(sources, relative, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [str(path) for path in relative]
    for source, name in zip(sources, names, strict=True):
        if any(result.resolve() == source.resolve() for result in results(name)):
            raise ValueError(f"{source}: the result would overwrite it. Name another --out.")
    return dict(zip(names, sources, strict=True))


def _video_results(name: str, out: Path) -> list[Path]:
    return [out / "labels" / name, *(out / kind / f"{name}.mp4" for kind in ("overlays", "videos"))]


def _expand(path: Path, out: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        results = [(out / kind).resolve() for kind in KINDS]
        for file in path.rglob("*"):
            if not any(file.resolve().is_relative_to(folder) for folder in results):
                yield from _readable([file])
    else:
        yield from _readable(map(Path, glob.glob(str(path), recursive=True)))


def _readable(candidates: Iterable[Path]) -> Iterator[Path]:
    suffixes = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    return (c for c in candidates if c.suffix.lower() in suffixes and c.is_file())


def check_options(videos: dict[str, Path], *, stages: bool, probabilities: bool, frames: bool):
    """ValueError for options that do not go with videos, or with pictures alone.

    Args:
        videos: the videos to label.
        stages: as in `main`.
        probabilities: as in `main`.
        frames: as in `main`.
    """
    if frames and not videos:
        raise ValueError("--frames: goes with videos, and there is none among the paths.")
    given = {"--stages": stages, "--probabilities": probabilities}
    refused = [option for option, on in given.items() if on]
    if videos and refused:
        raise ValueError(
            f"{', '.join(refused)}: only for pictures, and {next(iter(videos.values()))} is a "
            "video. Label the videos by themselves, without it."
        )


def model_identity(source: str) -> dict[str, Any]:
    """Return what tells a model's file from another one, without reading it."""
    directory = find(source)
    file = next(f for f in (directory / MODEL, directory / WEIGHTS) if f.is_file())
    facts = file.stat()
    return {"file": str(file.resolve()), "bytes": facts.st_size, "changed": facts.st_mtime}
