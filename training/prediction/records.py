"""Which input each result is of: `--resume` keeps a result only while its input is the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..rundir.outputs import Outputs
from ..utils.files import reading
from .remote import RemoteFile, Source
from .results import Kind, json_lines
from .sources import Sources

RECORD = "sources.jsonl"
"""The list of the inputs, in the directory of the results; versions before 0.2 wrote none."""

Key = tuple[Kind, str]


def changed_inputs(out: Path, sources: Sources) -> list[Key]:
    """Return the kinds and names of the inputs that aren't the ones of their earlier results.

    Args:
        out: directory for the results.
        sources: the inputs. Those that the record doesn't have count as unchanged.
    """
    record = _read(out)
    return [
        key for key, source in _inputs(sources) if key in record and record[key] != _facts(source)
    ]


def write_record(out: Path, sources: Sources, files: Outputs, *, keep: bool) -> None:
    """Record the inputs of the results: of those that are there, and of those to come.

    Args:
        out: directory for the results.
        sources: the inputs. The results of changed ones must have been removed.
        files: writes the record.
        keep: keep the records of other inputs, whose results are kept, too.
    """
    record = _read(out) if keep else {}
    record |= {key: _facts(source) for key, source in _inputs(sources)}
    rows = ({"kind": kind, "name": name, "file": facts} for (kind, name), facts in record.items())
    files.write_bytes(out / RECORD, json_lines(rows))


def _inputs(sources: Sources) -> Iterator[tuple[Key, Source]]:
    for name, source in sources.images.items():
        yield ("image", name), source
    for name, source in sources.videos.items():
        yield ("video", name), source


def _facts(source: Source) -> list[Any]:
    """Return an input's path, its bytes, and when it was changed; of a URL the URL alone."""
    if isinstance(source, RemoteFile):
        return [str(source)]
    try:
        files = filter(Path.is_file, source.iterdir()) if source.is_dir() else [source]
        facts = [file.stat() for file in files]
    except OSError:  # the prediction says why
        return [str(source)]
    changed = max((file.st_mtime_ns for file in facts), default=0)
    return [str(source), sum(file.st_size for file in facts), changed]


def _read(out: Path) -> dict[Key, list[Any]]:
    path = out / RECORD
    if not path.is_file():
        return {}
    with reading(path, "the inputs of earlier results"):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return {(row["kind"], row["name"]): row["file"] for row in rows}
