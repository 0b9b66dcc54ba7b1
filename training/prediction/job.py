"""Predict images and videos with one network or several: `keras-dpn predict`."""

import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

from keras_dpn.segmenter import Segmenter

from ..rundir.outputs import Outputs, writing
from ..utils.counts import counted
from .cluster import leave_gpus_to_workers, predict_on_cluster
from .lists import write_lists
from .local import predict_here
from .manifest import model_identity, write_manifest
from .records import changed_inputs, write_record
from .remote import Source
from .results import FileResult, Kind
from .settings import PredictionJob
from .sources import Sources

logger = logging.getLogger("keras_dpn")


@dataclass(frozen=True)
class PredictionSummary:
    """The result of `predict`.

    Args:
        num_images: predicted images.
        num_skipped: images that an earlier run had predicted.
        num_sources: all images and videos.
        unreadable: files that could not be read, or not in full.
        num_skipped_videos: videos that an earlier run had predicted.
        unfamiliar: images of which the network is less confident than of any validation image.
    """

    num_images: int
    num_skipped: int
    num_sources: int
    unreadable: tuple[Source, ...]
    num_skipped_videos: int = 0
    unfamiliar: tuple[Source, ...] = ()


def predict(job: PredictionJob) -> PredictionSummary:
    """Run a job. Prints a line about each video; progress and warnings go to stderr.

    Raises:
        ValueError: as `PredictionJob.find_sources`, `Segmenter.from_preset` and `write_manifest`;
            if a result would replace a file that no earlier run wrote, and if another process
            writes to the same directory.
        OSError: if a result can't be written.
    """
    sources = job.find_sources()
    with writing(job.out, "predict", force=job.force) as files:
        files.check(job.result_files(sources))
        return _predict(job, sources, files)


def _predict(job: PredictionJob, sources: Sources, files: Outputs) -> PredictionSummary:
    if job.cluster:
        leave_gpus_to_workers()
    segmenter = job.load_segmenter()
    classes = segmenter.classes.to_json()
    write_manifest(job.out, _manifest(job, segmenter), job.resume, files, classes)
    left = job.missing(sources) if job.resume else sources
    if job.resume:
        _remove_changed(job, sources, files)
    write_record(job.out, sources, files, keep=job.resume)
    results: dict[tuple[Kind, str], FileResult] = {}

    def add(result: FileResult) -> None:
        results[result.kind, result.name] = result

    if job.cluster:
        predict_on_cluster(job, job.cluster, left, files, add)
    else:
        predict_here(job, segmenter, left, files, add)
    num_unread = sum(
        1 for (kind, _), result in results.items() if kind == "image" and result.problems
    )
    unreadable = write_lists(job, sources, results, segmenter.classes.names, files)
    return PredictionSummary(
        num_images=len(left.images) - num_unread,
        num_skipped=len(sources.images) - len(left.images),
        num_sources=len(sources),
        unreadable=tuple(unreadable),
        num_skipped_videos=len(sources.videos) - len(left.videos),
        unfamiliar=tuple(
            source
            for name, source in left.images.items()
            if ("image", name) in results and results["image", name].is_unfamiliar
        ),
    )


def _remove_changed(job: PredictionJob, sources: Sources, files: Outputs) -> None:
    """Remove the results of inputs that have changed: from now on, results are of `sources`."""
    changed = changed_inputs(job.out, sources)
    if changed:
        logger.warning(
            "%s of other files, or of files that have changed, predicted again",
            counted(len(changed), "result"),
        )
    everything = replace(job, heads=True, probabilities=True, overlay=True)
    for kind, name in changed:
        files.remove(everything.files_of(kind, name))


def _manifest(job: PredictionJob, segmenter: Segmenter) -> dict[str, Any]:
    """Return everything that the labels depend on, as JSON values."""
    settings = asdict(segmenter.predictor.settings)
    del settings["max_pixels"]  # changes no labels
    values = {
        **settings,
        "size": segmenter.size,
        "models": [model_identity(model) for model in job.models],
        "precision": job.precision,
        "crf": job.crf,
    }
    return json.loads(json.dumps(values))
