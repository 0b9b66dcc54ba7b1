"""The images and videos that a command line names."""

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TypeVar

from keras_dpn.io.formats import is_image, is_video, list_visible

from .manifest import IMAGE_OUTPUTS, RESULT_FOLDERS, result_file
from .remote import RemoteFile, Source, list_remote, local_or_remote
from .results import SUFFIXES, read_manifest

logger = logging.getLogger("keras_dpn")
S = TypeVar("S", Path, RemoteFile)
_OTHERS_SHOWN = 5
_MAX_NAME = 250  # bytes: file systems allow 255, and results have other suffixes


@dataclass(frozen=True)
class Sources:
    """Files to predict, by the names of their results.

    Args:
        images: image files.
        videos: video files, and folders whose images are the frames.
    """

    images: Mapping[str, Source] = field(default_factory=dict)
    videos: Mapping[str, Source] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images) + len(self.videos)


def find_sources(paths: Sequence[str | Path], out: Path, image_sequence: bool = False) -> Sources:
    """Find the images and videos that paths match, by distinct names.

    Folders include their subfolders, without hidden files (see `keras_dpn.io.formats.list_visible`)
    and the results of an earlier run under `out`. A name is
    the file's path below the folder that all files share, without its suffix; files whose names
    would be equal keep it (a.jpg and a.png).

    Args:
        paths: files, folders, or patterns with * and ? (** for any depth); URLs of these; and
            manifests, which list such files, see `results.read_manifest`.
        out: directory for the results.
        image_sequence: treat each folder among the paths as one video, its images as the frames.

    Raises:
        ValueError: if there is no path, a path doesn't exist, or nothing is found in it; if a
            result would overwrite a source or another result, or be outside of `out`; with
            `image_sequence`, if no path is a folder.
    """
    if not paths:
        raise ValueError("No image or video given: name files, folders or quoted patterns.")
    named = [local_or_remote(path) for path in paths]
    folders = [path for path in named if image_sequence and _is_folder(path)]
    if image_sequence and not folders:
        raise ValueError("--image-sequence: expected a folder of frames among the paths.")
    listed = dict.fromkeys(folders)
    for path in named:
        files = list(_expand(path, out)) if path not in listed else [path]
        if not files:
            is_name = isinstance(path, Path) and not path.exists() and not glob.has_magic(str(path))
            found = "no such file or directory" if is_name else "no image or video matches"
            raise ValueError(f"{path}: {found}. Give files, folders or quoted patterns.")
        listed |= dict.fromkeys(files)
    absolute = list(dict.fromkeys(map(_absolute, listed)))
    for source in absolute:
        if isinstance(source, RemoteFile):
            _check_name(source, out)
    root = Path(os.path.commonpath([_pure_path(source).parent for source in absolute]))
    videos = dict.fromkeys(source for source in absolute if _is_video(source))
    images = [source for source in absolute if source not in videos]
    named_images, named_videos = _name(images, root), _name(list(videos), root)
    local = [source for source in absolute if isinstance(source, Path)]
    results = {name: [result_file(out, o, name) for o in IMAGE_OUTPUTS] for name in named_images}
    _check_results(results, named_images, local)
    _check_results({name: _video_results(name, out) for name in named_videos}, named_videos, local)
    return Sources(named_images, named_videos)


def _check_name(source: RemoteFile, out: Path) -> None:
    """Refuse names, of which an archive may have any, that its results can't have below `out`."""
    if ".." in re.split(r"[/\\]", str(source.path)):
        raise ValueError(
            f"{source}: expected a name without '..'; its results would be outside of {out}."
        )
    if any(len(part.encode(errors="replace")) > _MAX_NAME for part in source.path.parts):
        raise ValueError(f"{source}: expected names of at most {_MAX_NAME} bytes.")


def _absolute(source: Source) -> Source:
    return Path(os.path.abspath(source)) if isinstance(source, Path) else source


def _pure_path(source: Source) -> PurePath:
    return source if isinstance(source, Path) else source.path


def _is_folder(source: Source) -> bool:
    return isinstance(source, Path) and source.is_dir()


def _is_video(source: Source) -> bool:
    if isinstance(source, RemoteFile):
        return is_video(Path(source.name))  # by its suffix
    return source.is_dir() or is_video(source)


def _name(sources: Sequence[Source], root: Path) -> dict[str, Source]:
    relative = [_pure_path(source).relative_to(root) for source in sources]
    names = [
        str(path if _is_folder(source) else path.with_suffix(""))
        for source, path in zip(sources, relative, strict=True)
    ]
    while clashing := {name for name, count in Counter(names).items() if count > 1}:
        longer = [
            str(path) if name in clashing else name
            for name, path in zip(names, relative, strict=True)
        ]
        if longer == names:
            break
        names = longer
    named: dict[str, Source] = {}
    for name, source in zip(names, sources, strict=True):
        if name in named:  # of two archives, or of two object stores
            raise ValueError(
                f"{named[name]} and {source}: the results of both would be named {name}. Predict "
                "them separately, each with an --out of its own."
            )
        named[name] = source
    return named


def _check_results(
    results: Mapping[str, Sequence[Path]], named: Mapping[str, Source], sources: Sequence[Path]
) -> None:
    """Refuse results that would overwrite any of the sources, by links and by case too."""
    files = {_identity(source): source for source in sources if source.exists()}
    for name, paths in results.items():
        for path in paths:
            source = files.get(_identity(path)) if path.exists() else None
            if source is not None:
                of = "" if source == named[name] else f" of {named[name]}"
                raise ValueError(
                    f"{source}: the result{of} would overwrite it. Name another --out."
                )


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _video_results(name: str, out: Path) -> list[Path]:
    videos = [out / output / f"{name}.mp4" for output in ("overlays", "videos")]
    return [out / "labels" / name, *videos]


def _expand(path: Source, out: Path) -> Iterator[Source]:
    if isinstance(path, RemoteFile):
        files = list_remote(path.url)
        named = [file for file in files if file.path == path.path]
        yield from named or _readable(file for file in files if not _is_hidden(file))
    elif path.suffix in SUFFIXES and path.is_file():
        yield from read_manifest(path)
    elif path.is_file():
        yield path
    elif path.is_dir():
        results = [(out / folder).resolve() for folder in RESULT_FOLDERS]
        found = list_visible(path, "**/*")
        yield from sorted(
            _readable(
                f
                for f in filter(Path.is_file, found)
                if not any(f.resolve().is_relative_to(folder) for folder in results)
            )
        )
    else:
        # The names of folders that exist are no patterns: "photos [2023]/*.png".
        folder = next(parent for parent in path.parents if parent.is_dir())
        pattern = str(path.relative_to(folder))
        matches = (folder / name for name in glob.glob(pattern, root_dir=folder, recursive=True))
        yield from sorted(_readable(filter(Path.is_file, matches)))


def _is_hidden(file: RemoteFile) -> bool:
    return file.name.startswith(".") or "__MACOSX" in file.path.parts


def _readable(candidates: Iterable[S]) -> Iterator[S]:
    """Yield the images and videos, also those whose format can't be read; log other files."""
    others = []
    for source in candidates:
        # A file of another file system is told by its suffix.
        path = source if isinstance(source, Path) else Path("/", source.name)
        if is_image(path) or is_video(path):
            yield source
        else:
            others.append(source)
    if others:
        names = ", ".join(str(path) for path in others[:_OTHERS_SHOWN])
        more = f" and {len(others) - _OTHERS_SHOWN} more" if len(others) > _OTHERS_SHOWN else ""
        logger.warning("skipped, neither images nor videos: %s%s", names, more)
