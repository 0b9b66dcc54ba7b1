"""Labels pictures and videos with a trained model.

    python -m training.predict photos/ film.mp4 --model runs/demo --out labelled --overlay

writes labels/NAME.png (a palette PNG: its values are the labels), and on request overlays/NAME.png,
stages/NAME.png and probabilities/NAME.npz. Stopped, the same command with --resume carries on. Of a
video it writes videos/NAME.mp4, which shows it beside its labels, videos/NAME.json with its
temporal consistency, and on request overlays/NAME.mp4, or with --frames labels/NAME/000123.png
instead of videos/NAME.mp4.
"""

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from keras_dpn.io import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from keras_dpn.presets.files import WEIGHTS
from keras_dpn.presets.source import find
from keras_dpn.segmenter import Segmenter

from ..cli import run
from ..cli.options import Models, Precision
from ..configs.crf import read_crf
from ..rundir.paths import MODEL
from .images import KINDS as PICTURE_KINDS
from .images import keep_settings, label_pictures, without_done
from .video import label_videos

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
    suffixes = PICTURE_SUFFIXES | VIDEO_SUFFIXES
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


def main(
    paths: Positional[tuple[Path, ...]],
    /,
    *,
    model: Models,
    out: Path,
    stages: bool = False,
    probabilities: bool = False,
    overlay: bool = False,
    scales: tuple[float, ...] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    memory: float = 4.0,
    precision: Precision = "float32",
    crf: Path | None = None,
    keep_size: bool = False,
    frames: bool = False,
    as_video: bool = False,
    resume: bool = False,
) -> None:
    """Labels pictures and videos with a trained model.

    Writes labels/NAME.png under the output directory: a palette PNG whose values are the labels.
    Of a video it writes videos/NAME.mp4, the video beside its labels, at a size for a screen, and
    videos/NAME.json with its temporal consistency. Files that can't be read, and broken frames, are
    skipped and named at the end; the exit code is then 2.

    Args:
        paths: files, folders, or quoted patterns such as 'shots/**/*.jpg'; videos are known by
            their suffix: .avi, .m4v, .mkv, .mov, .mp4 or .webm.
        model: a preset, as dpn_camvid, or the directory of a training run; given several times,
            their probabilities are averaged.
        out: directory for the results.
        stages: also write stages/NAME.png, the labels after each stage side by side.
        probabilities: also write probabilities/NAME.npz, float16 (height, width, classes).
        overlay: also write overlays/NAME.png, the labels' colours over the picture, or for a video
            overlays/NAME.mp4.
        scales: factors at which each picture, or frame, is looked at; the probabilities are
            averaged. Networks for clips see frames as they are, without --mirror and --tile.
        mirror: average with the mirrored picture as well.
        tile: look at larger pictures in overlapping tiles of this side in pixels, a multiple of 32
            from 512 up; by default as large as the memory allows.
        memory: GiB that a pass of the network may take. Videos, --stages, --probabilities and --crf
            need memory for the probabilities of whole pictures beside it.
        precision: what the network computes in.
        crf: JSON file with a fully connected CRF's settings, as training.crf_search writes it; the
            CRF then has the last word.
        keep_size: look at pictures at the size that they have. By default they are resized to what
            the network was trained on, where its preset says so.
        frames: of videos, write labels/NAME/000123.png for every frame instead of videos/NAME.mp4.
        as_video: take each folder for one video, its pictures in order of their names.
        resume: skip the pictures that an earlier run has labelled, with the same models and
            settings.
    """
    if not paths:
        raise ValueError("No picture or video given: name files, folders or quoted patterns.")
    pictures, videos = find_sources(paths, out, as_video)
    check_options(videos, stages=stages, probabilities=probabilities, frames=frames)
    crf_settings = read_crf(crf) if crf else None
    segmenter = Segmenter.from_preset(
        model,
        scales=scales,
        horizontal_flip=mirror,
        tile=tile,
        memory_gib=memory,
        heads="all" if stages else None,
        crf=crf_settings,
        precision=precision,
        size=None if keep_size else "preset",
    )
    unreadable = []
    if pictures:
        settings = asdict(segmenter.predictor.settings) | {"size": segmenter.size}
        settings |= {"models": [_identity(m) for m in model], "precision": precision}
        keep_settings(out, json.loads(json.dumps(settings | {"crf": crf_settings})), resume)
        wanted = {"stages": stages, "probabilities": probabilities, "overlays": overlay}
        kinds = ("labels", *(kind for kind, on in wanted.items() if on))
        todo = without_done(pictures, out, kinds) if resume else pictures
        unreadable += label_pictures(segmenter, todo, out, kinds)
        print(f"{len(todo) - len(unreadable)} pictures labelled in {out}")
        if len(todo) < len(pictures):
            print(f"{len(pictures) - len(todo)} were labelled before")
    if videos:
        unreadable += label_videos(segmenter, videos, out, overlay=overlay, frames=frames)
    if unreadable:
        count = len(pictures) + len(videos)
        raise ValueError(f"{len(unreadable)} of {count} files could not be read in full.")


def _identity(source: str) -> dict[str, Any]:
    """What tells a model's file from another one, without reading it."""
    directory = find(source)
    file = next(f for f in (directory / MODEL, directory / WEIGHTS) if f.is_file())
    facts = file.stat()
    return {"file": str(file.resolve()), "bytes": facts.st_size, "changed": facts.st_mtime}


if __name__ == "__main__":
    run(main)
