"""Predict images and videos with one network or several: `keras-dpn predict`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from keras_dpn.inference import InferenceSettings
from keras_dpn.segmenter import Segmenter

from ..rundir.outputs import Outputs, writing
from .images import predict_images
from .manifest import (
    MANIFEST,
    ImageOutput,
    model_identity,
    pending,
    result_file,
    video_files,
    write_manifest,
)
from .sources import Sources, find_sources
from .video import predict_videos


@dataclass(frozen=True)
class PredictionJob:
    """Inputs, models, settings and outputs of a prediction.

    Args:
        paths: files, folders or patterns, see `find_sources`.
        models: presets, or directories of training runs; their probabilities are averaged.
        out: directory for the results.
        settings: settings of the inference.
        crf: settings of a fully connected CRF that refines each prediction; None: no CRF.
        precision: dtype that the networks compute in.
        keep_size: predict images at their size, instead of that of the preset.
        heads: also write the labels of each head, side by side.
        probabilities: also write the probabilities.
        overlay: also write the labels' colours over the image, or the video.
        save_frames: for videos, write a label map per frame instead of a video.
        image_sequence: treat each folder as one video.
        resume: skip the images that an earlier run has predicted with the same models and settings.
        force: replace files that no earlier run has written.
    """

    paths: tuple[Path, ...]
    models: tuple[str, ...]
    out: Path
    settings: InferenceSettings = InferenceSettings(memory_gib=4.0)
    crf: Mapping[str, Any] | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    keep_size: bool = False
    heads: bool = False
    probabilities: bool = False
    overlay: bool = False
    save_frames: bool = False
    image_sequence: bool = False
    resume: bool = False
    force: bool = False

    @property
    def image_outputs(self) -> tuple[ImageOutput, ...]:
        """The results to write of each image."""
        wanted: dict[ImageOutput, bool] = {
            "labels": True,
            "heads": self.heads,
            "probabilities": self.probabilities,
            "overlays": self.overlay,
        }
        return tuple(output for output, is_wanted in wanted.items() if is_wanted)

    def find_sources(self) -> Sources:
        """Find the files to predict.

        Raises:
            ValueError: as `find_sources`, and for options that videos, or images alone, don't
                support.
        """
        sources = find_sources(self.paths, self.out, self.image_sequence)
        if self.save_frames and not sources.videos:
            raise ValueError("--save-frames: expected a video among the paths, received none.")
        options = {"--heads": self.heads, "--probabilities": self.probabilities}
        refused = [option for option, is_given in options.items() if is_given]
        if sources.videos and refused:
            raise ValueError(
                f"{', '.join(refused)}: only for images, and {next(iter(sources.videos.values()))} "
                "is a video. Predict the videos separately, without it."
            )
        return sources

    def result_files(self, sources: Sources) -> Iterator[Path]:
        """Yield the files that this job writes; of label maps per frame, those that exist."""
        is_resumed = self.resume and (self.out / MANIFEST).is_file()
        if sources.images and not is_resumed:
            yield self.out / MANIFEST
        images = sources.images
        if is_resumed:
            images = pending(images, self.out, self.image_outputs)
        for name in images:
            yield from (result_file(self.out, output, name) for output in self.image_outputs)
        for name in sources.videos:
            yield self.out / "videos" / f"{name}.json"
            yield from video_files(
                self.out, name, overlay=self.overlay, save_frames=self.save_frames
            ).values()
            if self.save_frames:
                yield from (self.out / "labels" / name).glob("*.png")


@dataclass(frozen=True)
class PredictionSummary:
    """The result of `predict`.

    Args:
        num_images: predicted images.
        num_skipped: images that an earlier run had predicted.
        num_sources: all images and videos.
        unreadable: files that could not be read, or not in full.
    """

    num_images: int
    num_skipped: int
    num_sources: int
    unreadable: tuple[Path, ...]


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
    segmenter = Segmenter.from_preset(
        job.models,
        scales=job.settings.scales,
        horizontal_flip=job.settings.horizontal_flip,
        tile=job.settings.tile,
        memory_gib=job.settings.memory_gib,
        heads="all" if job.heads else None,
        crf=job.crf,
        precision=job.precision,
        size=None if job.keep_size else "preset",
        max_pixels=job.settings.max_pixels,
    )
    images: Mapping[str, Path] = sources.images
    unreadable: list[Path] = []
    if images:
        write_manifest(job.out, _manifest(job, segmenter), job.resume, files)
        if job.resume:
            images = pending(images, job.out, job.image_outputs)
        unreadable += predict_images(segmenter, images, job.out, job.image_outputs, files)
    num_images = len(images) - len(unreadable)
    if sources.videos:
        unreadable += predict_videos(
            segmenter,
            sources.videos,
            job.out,
            overlay=job.overlay,
            save_frames=job.save_frames,
            files=files,
        )
    return PredictionSummary(
        num_images, len(sources.images) - len(images), len(sources), tuple(unreadable)
    )


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
