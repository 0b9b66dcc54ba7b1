"""Labels pictures and videos with a trained model.

    python -m training.predict photos/ film.mp4 --work-dir runs/demo --out labelled --overlay

writes labels/NAME.png (a palette PNG: its values are the labels), and on request overlays/NAME.png,
stages/NAME.png and probabilities/NAME.npz. Of a video it writes videos/NAME.mp4, which shows it
beside its labels, videos/NAME.json with its temporal consistency, and on request
overlays/NAME.mp4, or with --frames labels/NAME/000123.png instead of videos/NAME.mp4.
"""

import glob
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from tyro.conf import Positional

from keras_dpn import inference, viz
from training.cli import run
from training.data import Classes
from training.data.images import ImageError, read_image
from training.data.video import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from training.predict_video import label_videos
from training.workdir import load_classes, load_model, write_atomically

# a folder under `out` for each
KINDS = ("labels", "overlays", "stages", "probabilities", "videos")
STAGE_TITLES = {
    "unary": "unary (b11)",
    "triple": "+ triple penalty (b12)",
    "contexts": "+ label contexts (b14)",
    "multiscale": "+ multi-scale branches",
    "final": "final",
}


def predict(
    model: keras.Model,
    classes: Classes,
    sources: dict[str, Path],
    out: Path,
    *,
    stages: bool = False,
    probabilities: bool = False,
    overlay: bool = False,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    console: Console | None = None,
) -> list[Path]:
    """Labels image files, one after another, and writes the pictures asked for.

    Args:
        model: logits (B, H, W, L) from RGB images.
        classes: its L classes.
        sources: image files by the names that their results get, from `find_sources`.
        out: directory for the results.
        stages: draw the label map after each of the model's stages, side by side.
        probabilities: write (H, W, L) probabilities, float16, compressed, key "probabilities".
        overlay: lay the labels' colours over the image.
        scales: as in `inference.predict_probabilities`.
        mirror: as in `inference.predict_probabilities`.
        console: shows the progress and names the files that can't be read; stderr by default.

    Returns:
        The files that could not be read. All others are written.
    """
    console = console or Console(stderr=True)
    unreadable = []
    for name, source in track(sources.items(), "predicting", console=console):
        try:
            image = read_image(source)
        except ImageError as error:
            console.print(f"skipped: {error}", markup=False, highlight=False, soft_wrap=True)
            unreadable.append(source)
            continue
        if stages:
            maps = inference.stage_probabilities(model, image, None, scales, mirror)
        else:
            maps = {"final": inference.predict_probabilities(model, image, scales, mirror)}
        final = maps["final"]
        labels = inference.to_labels(final)
        colors, ignore = classes.colors, classes.ignore
        pictures = {"labels": viz.label_png(labels, colors, ignore)}
        if overlay:
            pictures["overlays"] = viz.image_png(viz.overlay(image, labels, colors, ignore))
        if stages:
            pictures["stages"] = viz.image_png(draw_stages(image, maps, classes))
        for kind, content in pictures.items():
            _write(out / kind / f"{name}.png", content)
        if probabilities:
            _write(out / "probabilities" / f"{name}.npz", _npz(final, classes))
    return unreadable


def draw_stages(image: np.ndarray, maps: dict[str, np.ndarray], classes: Classes) -> np.ndarray:
    """An image, the labels after each stage and a legend in one picture: uint8 (h, w, 3).

    Args:
        image: uint8 (H, W, 3).
        maps: probabilities (H, W, L) by the stage's name.
        classes: names and colours.
    """
    painted = [
        viz.colorize(inference.to_labels(p), classes.colors, classes.ignore) for p in maps.values()
    ]
    titles = ["image", *(STAGE_TITLES.get(name, name) for name in maps)]
    sheet = viz.side_by_side([image, *painted], titles)
    size = int(np.clip(sheet.shape[1] / 110, 11, 22))
    return viz.stack([sheet, viz.legend(classes.names, classes.colors, sheet.shape[1], size)])


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


def check_options(
    videos: dict[str, Path],
    *,
    stages: bool,
    probabilities: bool,
    scales: Sequence[float],
    mirror: bool,
    frames: bool,
) -> None:
    """ValueError for options that do not go with videos, or with pictures alone.

    Args:
        videos: the videos to label.
        stages: as in `main`.
        probabilities: as in `main`.
        scales: as in `main`.
        mirror: as in `main`.
        frames: as in `main`.
    """
    if frames and not videos:
        raise ValueError("--frames: goes with videos, and there is none among the paths.")
    given = {
        "--stages": stages,
        "--probabilities": probabilities,
        "--scales": tuple(scales) != (1.0,),
        "--mirror": mirror,
    }
    refused = [option for option, on in given.items() if on]
    if videos and refused:
        raise ValueError(
            f"{', '.join(refused)}: only for pictures, and {next(iter(videos.values()))} is a "
            "video. Label the videos by themselves, without it."
        )


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _npz(probabilities: np.ndarray, classes: Classes) -> bytes:
    stream = io.BytesIO()
    halves = probabilities.astype("float16")
    np.savez_compressed(stream, probabilities=halves, names=np.array(classes.names))
    return stream.getvalue()


def main(
    paths: Positional[tuple[Path, ...]],
    /,
    *,
    work_dir: Path,
    out: Path,
    stages: bool = False,
    probabilities: bool = False,
    overlay: bool = False,
    scales: tuple[float, ...] = (1.0,),
    mirror: bool = False,
    frames: bool = False,
    as_video: bool = False,
) -> None:
    """Labels pictures and videos with a trained model.

    Writes labels/NAME.png under the output directory: a palette PNG whose values are the labels.
    Of a video it writes videos/NAME.mp4, the video beside its labels, at a size for a screen, and
    videos/NAME.json with its temporal consistency. Files that can't be read, and broken frames, are
    named and skipped; the exit code is then 2.

    Args:
        paths: files, folders, or quoted patterns such as 'shots/**/*.jpg'; videos are known by
            their suffix: .avi, .m4v, .mkv, .mov, .mp4 or .webm.
        work_dir: directory of the training run.
        out: directory for the results.
        stages: also write stages/NAME.png, the labels after each stage side by side.
        probabilities: also write probabilities/NAME.npz, float16 (height, width, classes).
        overlay: also write overlays/NAME.png, the labels' colours over the picture, or for a video
            overlays/NAME.mp4.
        scales: factors at which each picture is looked at; the probabilities are averaged.
        mirror: average with the mirrored picture as well.
        frames: of videos, write labels/NAME/000123.png for every frame instead of videos/NAME.mp4.
        as_video: take each folder for one video, its pictures in order of their names.
    """
    if not paths:
        raise ValueError("No picture or video given: name files, folders or quoted patterns.")
    pictures, videos = find_sources(paths, out, as_video)
    check_options(
        videos,
        stages=stages,
        probabilities=probabilities,
        scales=scales,
        mirror=mirror,
        frames=frames,
    )
    model, classes = load_model(work_dir), load_classes(work_dir)
    if stages:
        inference.check_stages(model)
    unreadable = []
    if pictures:
        unreadable += predict(
            model,
            classes,
            pictures,
            out,
            stages=stages,
            probabilities=probabilities,
            overlay=overlay,
            scales=scales,
            mirror=mirror,
        )
        print(f"{len(pictures) - len(unreadable)} pictures labelled in {out}")
    if videos:
        unreadable += label_videos(model, classes, videos, out, overlay=overlay, frames=frames)
    if unreadable:
        count = len(pictures) + len(videos)
        raise ValueError(f"{len(unreadable)} of {count} files could not be read in full.")


if __name__ == "__main__":
    run(main)
