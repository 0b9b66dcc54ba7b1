"""The picture half of `training.predict`: reads, labels and writes pictures at the same time."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from keras_dpn import viz
from keras_dpn.classes import Classes
from keras_dpn.io.images import ImageError, read_image
from keras_dpn.segmenter import Segmentation, Segmenter

from ..rundir.paths import read_json, write_atomically, write_json
from ..utils.threads import prefetch_map

KINDS = ("labels", "overlays", "stages", "probabilities")  # of results, a folder for each
SETTINGS = "predict.json"  # how the pictures beside it were labelled
STAGE_TITLES = {
    "unary": "unary term",
    "triple": "+ triple penalty (b12)",
    "contexts": "+ label contexts (b14)",
    "multiscale": "+ multi-scale branches",
    "final": "final",
}


def label_pictures(
    segmenter: Segmenter,
    sources: dict[str, Path],
    out: Path,
    kinds: Sequence[str] = ("labels",),
    *,
    console: Console | None = None,
) -> list[Path]:
    """Labels image files and writes the pictures asked for.

    While the model looks at one, threads read those to come and write what was found in those
    before. Each file appears whole or not at all.

    Args:
        segmenter: of all heads if "stages" are wanted.
        sources: image files by the names that their results get, from `find_sources`.
        out: directory for the results.
        kinds: what to write. "labels" are palette PNGs, "overlays" lay the labels' colours over the
            image, "stages" show the label map after each of the model's stages, side by side, and
            "probabilities" are (H, W, L), float16, compressed, key "probabilities".
        console: shows the progress, and at the end names the files that can't be read; stderr by
            default.

    Returns:
        The files that could not be read. All others are written.

    Raises:
        ValueError: as `Segmenter`.
        OSError: if a result can't be written.
    """
    console = console or Console(stderr=True)
    read = prefetch_map(_read, sources.items())
    whole = bool({"stages", "probabilities"} & set(kinds))
    seen = (_label(segmenter, picture, whole) for picture in read)
    write = partial(_write_results, classes=segmenter.classes, out=out, kinds=kinds)
    errors: dict[Path, ImageError] = {}
    try:
        for picture in track(
            prefetch_map(write, seen), "predicting", len(sources), console=console
        ):
            if picture.error is not None:
                errors[picture.source] = picture.error
    finally:
        for error in errors.values():
            console.print(f"skipped: {error}", markup=False, highlight=False, soft_wrap=True)
    return list(errors)


@dataclass
class _Picture:
    """A picture on its way from its file to its results."""

    name: str
    source: Path
    image: np.ndarray | None = None
    error: ImageError | None = None
    """Why there is no image."""
    labels: np.ndarray | None = None
    found: Segmentation | None = None
    """With probabilities, where they are asked for."""


def _read(item: tuple[str, Path]) -> _Picture:
    try:
        return _Picture(*item, image=read_image(item[1]))
    except ImageError as error:
        return _Picture(*item, error=error)


def _label(segmenter: Segmenter, picture: _Picture, whole: bool) -> _Picture:
    if picture.image is None:
        return picture
    if whole:
        picture.found = segmenter.image(picture.image)
        picture.labels = picture.found.labels
    else:
        picture.labels = segmenter.labels(picture.image)
    return picture


def _write_results(
    picture: _Picture, classes: Classes, out: Path, kinds: Sequence[str]
) -> _Picture:
    """Write what is asked for; return the picture without its arrays."""
    for kind in kinds if picture.error is None else ():
        content = _content(picture, classes, kind)
        path = result_file(out, kind, picture.name)
        write_atomically(path, lambda temporary, content=content: temporary.write_bytes(content))
    return _Picture(picture.name, picture.source, error=picture.error)


def _content(picture: _Picture, classes: Classes, kind: str) -> bytes:
    image, labels, found = picture.image, picture.labels, picture.found
    if kind == "labels":
        return viz.label_png(labels, classes.colors, classes.ignore)
    if kind == "overlays":
        return viz.image_png(viz.overlay(image, labels, classes.colors, classes.ignore))
    if kind == "stages":
        return viz.image_png(draw_stages(found))
    stream = io.BytesIO()
    halves = found.probabilities.astype("float16")
    np.savez_compressed(stream, probabilities=halves, names=np.array(classes.names))
    return stream.getvalue()


def result_file(out: Path, kind: str, name: str) -> Path:
    """Where a picture's result of a kind lies."""
    return out / kind / f"{name}.{'npz' if kind == 'probabilities' else 'png'}"


def without_done(sources: Mapping[str, Path], out: Path, kinds: Sequence[str]) -> dict[str, Path]:
    """The pictures that lack a result, or whose results are older than the settings.

    Args:
        sources: image files by the names of their results.
        out: directory for the results, after `keep_settings`.
        kinds: as in `label_pictures`.
    """
    since = (out / SETTINGS).stat().st_mtime_ns

    def is_done(name: str) -> bool:
        files = [result_file(out, kind, name) for kind in kinds]
        return all(file.is_file() and file.stat().st_mtime_ns >= since for file in files)

    return {name: source for name, source in sources.items() if not is_done(name)}


def keep_settings(out: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Write how the pictures under `out` are labelled; to resume, see that it is as before.

    Args:
        out: directory for the results.
        settings: values as JSON has them, all that the labels depend on.
        resume: whether results of earlier runs are kept.

    Raises:
        ValueError: to resume what was labelled otherwise.
    """
    path = out / SETTINGS
    if not (resume and path.exists()):
        write_json(path, settings)
        return
    before = read_json(path)
    odd = [key for key, value in settings.items() if before.get(key) != value]
    if odd:
        raise ValueError(
            f"{path}: the pictures there were labelled with another {', '.join(odd)}. Name another "
            "--out, or leave out --resume to label all anew."
        )


def draw_stages(found: Segmentation) -> np.ndarray:
    """An image, its labels at each head and a legend in one picture: uint8 (h, w, 3)."""
    classes = found.classes
    painted = [
        viz.colorize(found.head_labels(head), classes.colors, classes.ignore) for head in found.maps
    ]
    titles = ["image", *(STAGE_TITLES.get(head, head) for head in found.maps)]
    sheet = viz.side_by_side([found.image, *painted], titles)
    size = int(np.clip(sheet.shape[1] / 110, 11, 22))
    return viz.stack([sheet, viz.legend(classes.names, classes.colors, sheet.shape[1], size)])
