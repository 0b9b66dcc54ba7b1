"""The results of `keras-dpn predict` on disk, and a manifest of their settings to resume from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from keras_dpn.inference.exported import SAVED_MODEL, exported_version
from keras_dpn.presets.files import WEIGHTS
from keras_dpn.presets.source import find

from ..rundir.outputs import Outputs
from ..rundir.paths import MODEL
from ..utils.files import read_json, write_json

T = TypeVar("T")
ImageOutput = Literal["labels", "overlays", "heads", "probabilities"]
"""The results of an image, each in a folder of this name."""

IMAGE_OUTPUTS: tuple[ImageOutput, ...] = get_args(ImageOutput)
OUTPUTS = (*IMAGE_OUTPUTS, "videos")
MANIFEST = "predict.json"

# Folder names of version 0.1.
_OLD_FOLDERS = {"heads": "stages"}
RESULT_FOLDERS = (*OUTPUTS, *_OLD_FOLDERS.values())


def result_file(out: Path, output: str, name: str) -> Path:
    """Return where a result of an image is written."""
    return out / output / f"{name}.{'npz' if output == 'probabilities' else 'png'}"


def video_files(out: Path, name: str, *, overlay: bool, save_frames: bool) -> dict[str, Path]:
    """Return the video files that `predict_video` writes, by the names of their folders."""
    folders = ([] if save_frames else ["videos"]) + (["overlays"] if overlay else [])
    return {folder: out / folder / f"{name}.mp4" for folder in folders}


def report_file(out: Path, name: str) -> Path:
    """Return where the report of a video is written."""
    return out / "videos" / f"{name}.json"


def write_manifest(
    out: Path,
    settings: Mapping[str, Any],
    resume: bool,
    files: Outputs | None = None,
    classes: Mapping[str, Any] | None = None,
) -> None:
    """Write the manifest of the settings; to resume, check that they haven't changed.

    Args:
        out: directory for the results.
        settings: everything that the labels depend on, as JSON values.
        resume: whether the results of earlier runs are kept.
        files: records the manifest, and refuses to replace a file of others.
        classes: names and colours of the labels, for readers: they are those of the models.

    Raises:
        ValueError: if results are to be kept that were predicted with other settings.
    """
    path = out / MANIFEST
    if not (resume and path.exists()):
        (files.write_json if files else write_json)(path, {**settings, "classes": classes})
        return
    earlier = read_json(path)
    if not isinstance(earlier, dict):
        raise ValueError(f"{path}: expected the settings of a prediction, received others.")
    mismatched = [key for key, value in settings.items() if earlier.get(key) != value]
    if mismatched:
        raise ValueError(
            f"{path}: the images there were predicted with another {', '.join(mismatched)}. Name "
            "another --out, or leave out --resume to predict all of them again."
        )


def pending(sources: Mapping[str, T], out: Path, outputs: Sequence[ImageOutput]) -> dict[str, T]:
    """Return the images that lack a result, or whose results are older than the manifest.

    Args:
        sources: image files by the names of their results.
        out: directory for the results, after `write_manifest`.
        outputs: the required results of each image.
    """
    since = manifest_time(out)

    def is_done(output: str, name: str) -> bool:
        folders = [output, _OLD_FOLDERS.get(output, output)]
        return any(is_current(result_file(out, folder, name), since) for folder in folders)

    return {
        name: source
        for name, source in sources.items()
        if not all(is_done(output, name) for output in outputs)
    }


def manifest_time(out: Path) -> int:
    """Return when the manifest was written, in nanoseconds: older results don't count."""
    return (out / MANIFEST).stat().st_mtime_ns


def is_current(file: Path, since: int) -> bool:
    """Return whether a result exists and is no older than `since`, from `manifest_time`."""
    return file.is_file() and file.stat().st_mtime_ns >= since


def model_identity(source: str) -> dict[str, Any]:
    """Return what identifies a model's file, without reading it."""
    directory = exported_version(source) or find(source)
    names = (MODEL, WEIGHTS, SAVED_MODEL)
    file = next(directory / name for name in names if (directory / name).is_file())
    facts = file.stat()
    return {"file": str(file.resolve()), "bytes": facts.st_size, "changed": facts.st_mtime}
