"""Labels pictures with a trained model.

    python -m training.predict photos/ --work-dir runs/demo --out labelled --overlay

writes labels/NAME.png (a palette PNG: its values are the labels), and on request overlays/NAME.png,
stages/NAME.png and probabilities/NAME.npz.
"""

import glob
import io
import os
from collections.abc import Iterable, Iterator, Sequence
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
from training.workdir import load_classes, load_model, write_atomically

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
KINDS = ("labels", "overlays", "stages", "probabilities")  # a folder under `out` for each
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
        sources: image files by the names that their results get, from `find_images`.
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


def find_images(paths: Sequence[Path], out: Path) -> dict[str, Path]:
    """The image files that paths stand for, by names that differ from each other.

    Folders count with their subfolders, without what an earlier run wrote under `out`. A name is
    the file's path below the folder that all files share, without its suffix, or with it where
    names would be the same (a.jpg and a.png).

    Args:
        paths: files, folders, or patterns with * and ? (** for any depth).
        out: directory for the results.

    Raises:
        ValueError: if a path does not exist, or no image is found in it; or if a result would
            overwrite an image.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        images = sorted(_expand(path, out))
        if not images:
            raise ValueError(f"{path}: no image found. Give files, folders or quoted patterns.")
        found |= {Path(os.path.abspath(image)): image for image in images}
    root = os.path.commonpath([file.parent for file in found])
    relative = [file.relative_to(root) for file in found]
    names = [str(path.with_suffix("")) for path in relative]
    if len(set(names)) < len(names):
        names = [str(path) for path in relative]
    for file, name in zip(found, names, strict=True):
        if any((out / kind / f"{name}.png").resolve() == file.resolve() for kind in KINDS):
            raise ValueError(f"{file}: the result would overwrite it. Name another --out.")
    return dict(zip(names, found.values(), strict=True))


def _expand(path: Path, out: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        results = [(out / kind).resolve() for kind in KINDS]
        for file in path.rglob("*"):
            if not any(file.resolve().is_relative_to(folder) for folder in results):
                yield from _images([file])
    else:
        yield from _images(map(Path, glob.glob(str(path), recursive=True)))


def _images(candidates: Iterable[Path]) -> Iterator[Path]:
    return (c for c in candidates if c.suffix.lower() in SUFFIXES and c.is_file())


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
) -> None:
    """Labels pictures with a trained model.

    Writes labels/NAME.png under the output directory: a palette PNG whose values are the labels.
    Files that can't be read are named and skipped; the exit code is then 2.

    Args:
        paths: image files, folders, or quoted patterns such as 'shots/**/*.jpg'.
        work_dir: directory of the training run.
        out: directory for the results.
        stages: also write stages/NAME.png, the labels after each stage side by side.
        probabilities: also write probabilities/NAME.npz, float16 (height, width, classes).
        overlay: also write overlays/NAME.png, the labels' colours over the picture.
        scales: factors at which each picture is looked at; the probabilities are averaged.
        mirror: average with the mirrored picture as well.
    """
    if not paths:
        raise ValueError("No picture given: name files, folders or quoted patterns.")
    sources = find_images(paths, out)
    model, classes = load_model(work_dir), load_classes(work_dir)
    if stages:
        inference.check_stages(model)
    unreadable = predict(
        model,
        classes,
        sources,
        out,
        stages=stages,
        probabilities=probabilities,
        overlay=overlay,
        scales=scales,
        mirror=mirror,
    )
    print(f"{len(sources) - len(unreadable)} pictures labelled in {out}")
    if unreadable:
        raise ValueError(f"{len(unreadable)} of {len(sources)} files could not be read.")


if __name__ == "__main__":
    run(main)
