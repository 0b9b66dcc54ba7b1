"""Write what became of the inputs of a job: the manifest of the results, and the errors."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ..rundir.outputs import Outputs
from ..utils.threads import prefetch_map
from .remote import Source
from .results import ERRORS, FileResult, Kind, encode_manifest, json_lines, written_image
from .settings import PredictionJob
from .sources import Sources

Results = Mapping[tuple[Kind, str], FileResult]


def write_lists(
    job: PredictionJob,
    sources: Sources,
    results: Results,
    names: Sequence[str],
    files: Outputs,
) -> list[Source]:
    """Write the list of errors, if there are any, and the job's manifest, if it has one.

    The manifest has a row per input that has labels: `path` of the input, `result` with the labels,
    their `height` and `width`, the `frames` of a video, the `fractions` of the classes in the
    pixels, and the `confidence` of an image that this job predicted. A line of the errors has the
    `path` of an input, and the `cause`.

    Args:
        job: what was done.
        sources: all inputs of the job.
        results: what became of those that it predicted; others are read from their results.
        names: of the classes.
        files: writes and records the lists.

    Returns:
        The inputs that can't be read, or not in full.
    """
    listed = dict(_all_results(job, sources, results, len(names)))
    problems = {source: found.problems for source, found in listed.items() if found.problems}
    errors = job.out / ERRORS
    if problems or errors.exists():
        lines = ({"path": str(s), "cause": "; ".join(found)} for s, found in problems.items())
        files.write_bytes(errors, json_lines(lines))
    if job.manifest is not None:
        rows = (_row(job, s, found, names) for s, found in listed.items() if found.is_written)
        files.write_bytes(job.manifest, encode_manifest(job.manifest, rows, names))
    return list(problems)


def _all_results(
    job: PredictionJob, sources: Sources, results: Results, num_classes: int
) -> Iterator[tuple[Source, FileResult]]:
    """Yield each input with what became of it, in order; images predicted before for a manifest."""
    describe = partial(_image, job, results, num_classes)
    for source, image in zip(
        sources.images.values(), prefetch_map(describe, sources.images), strict=True
    ):
        if image is not None:
            yield source, image
    for name, source in sources.videos.items():
        found = results.get(("video", name))
        if found is None and (report := job.written_video(name)):
            found = report.result(name)
        if found is not None:
            yield source, found


def _image(job: PredictionJob, results: Results, num_classes: int, name: str) -> FileResult | None:
    found = results.get(("image", name))
    if found is None and job.manifest is not None:
        return written_image(name, job.out, num_classes)
    return found


def _row(
    job: PredictionJob, source: Source, result: FileResult, names: Sequence[str]
) -> dict[str, Any]:
    fractions = result.fractions
    return {
        "path": str(source),
        "result": os.path.abspath(job.labels_of(result.kind, result.name)),
        "height": result.height,
        "width": result.width,
        "frames": result.frames,
        "fractions": None if fractions is None else dict(zip(names, fractions, strict=True)),
        "confidence": result.confidence,
    }
