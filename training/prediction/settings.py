"""What `keras-dpn predict` is told to do: inputs, networks, settings and outputs."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from keras_dpn.inference import InferenceSettings
from keras_dpn.inference.exported import exported_version
from keras_dpn.segmenter import Segmenter

from ..utils.ray_cluster import ClusterOptions
from .manifest import (
    MANIFEST,
    ImageOutput,
    is_current,
    manifest_time,
    pending,
    report_file,
    result_file,
    video_files,
)
from .records import RECORD, changed_inputs
from .results import ERRORS, Kind, check_suffix
from .sources import Sources, find_sources
from .video_report import VideoReport, read_report


@dataclass(frozen=True)
class PredictionJob:
    """Inputs, models, settings and outputs of a prediction.

    Args:
        paths: files, folders, patterns, URLs or manifests, see `find_sources`.
        models: presets, or directories of training runs, whose probabilities are averaged; or an
            exported model.
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
        resume: skip what an earlier run has predicted with the same models and settings, of files
            that are the same as then.
        force: replace files that no earlier run has written.
        manifest: file for a list of the results, .jsonl or .parquet; None: no list.
        cluster: the Ray cluster that predicts; None: this process.
    """

    paths: tuple[str | Path, ...]
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
    manifest: Path | None = None
    cluster: ClusterOptions | None = None

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
            ValueError: as `find_sources`, for options that videos, or images alone, don't support,
                if the label maps of a video's frames would replace those of images, and if the
                manifest would replace another list.
        """
        if re.match(r"\w\w+:/", str(self.out)):
            raise ValueError(
                f"--out: expected a directory, received {self.out}. Copy the results to the object "
                "store afterwards, or mount it."
            )
        if self.manifest is not None:
            check_suffix(self.manifest)
            own = [os.path.abspath(self.out / name) for name in (ERRORS, RECORD)]
            if os.path.abspath(self.manifest) in own:
                raise ValueError(
                    f"--manifest: expected another name than {self.manifest.name} in {self.out}, "
                    "which the command gives to a list of its own."
                )
        sources = find_sources(self.paths, self.out, self.image_sequence)
        if self.save_frames and not sources.videos:
            raise ValueError("--save-frames: expected a video among the paths, received none.")
        if self.save_frames:
            _check_frames(sources)
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
        yield self.out / ERRORS
        yield self.out / RECORD
        if self.manifest is not None:
            yield self.manifest
        if not self.is_resumed:
            yield self.out / MANIFEST
        left = self.missing(sources) if self.is_resumed else sources
        for name in left.images:
            yield from self.files_of("image", name)
        for name in left.videos:
            yield from self.files_of("video", name)

    def files_of(self, kind: Kind, name: str) -> Iterator[Path]:
        """Yield the result files of an input; of label maps per frame, those that exist."""
        if kind == "image":
            yield from (result_file(self.out, output, name) for output in self.image_outputs)
            return
        yield report_file(self.out, name)
        drawn = video_files(self.out, name, overlay=self.overlay, save_frames=self.save_frames)
        yield from drawn.values()
        if self.save_frames:
            yield from (self.out / "labels" / name).glob("*.png")

    def labels_of(self, kind: Kind, name: str) -> Path:
        """Return where the labels of an input are: a file, or the folder of a video's frames."""
        if kind == "image":
            return result_file(self.out, "labels", name)
        if self.save_frames:
            return self.out / "labels" / name
        return video_files(self.out, name, overlay=False, save_frames=False)["videos"]

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier run left results that are kept."""
        return self.resume and (self.out / MANIFEST).is_file()

    def missing(self, sources: Sources) -> Sources:
        """Return the images and videos that lack a result, or have changed since then.

        Call it after `write_manifest`.
        """
        lacking = pending(sources.images, self.out, self.image_outputs)
        changed = set(changed_inputs(self.out, sources))
        return Sources(
            {n: s for n, s in sources.images.items() if n in lacking or ("image", n) in changed},
            {
                n: s
                for n, s in sources.videos.items()
                if ("video", n) in changed or self.written_video(n) is None
            },
        )

    def written_video(self, name: str) -> VideoReport | None:
        """Return the report of a video whose results are complete; None for another."""
        report = read_report(report_file(self.out, name))
        if report is None or not report.complete:
            return None
        since = manifest_time(self.out)
        current = [path for path in self.files_of("video", name) if is_current(path, since)]
        drawn = video_files(self.out, name, overlay=self.overlay, save_frames=self.save_frames)
        maps = report.frames if self.save_frames else 0
        return report if len(current) >= 1 + len(drawn) + maps else None

    def load_segmenter(self) -> Segmenter:
        """Load the networks; raises as `Segmenter.from_preset` and `Segmenter.from_export`."""
        if any(map(exported_version, self.models)):
            return self._load_exported()
        return Segmenter.from_preset(
            self.models,
            scales=self.settings.scales,
            horizontal_flip=self.settings.horizontal_flip,
            tile=self.settings.tile,
            memory_gib=self.settings.memory_gib,
            heads="all" if self.heads else None,
            crf=self.crf,
            precision=self.precision,
            size=None if self.keep_size else "preset",
            max_pixels=self.settings.max_pixels,
        )

    def _load_exported(self) -> Segmenter:
        """Load an exported model, which many options don't fit."""
        default = type(self).settings.memory_gib
        options = {
            "several models": len(self.models) > 1,
            "--heads": self.heads,
            "--precision": self.precision != "float32",
            "--tile": self.settings.tile is not None,
            "--memory-gib": self.settings.memory_gib not in (None, default),
        }
        if refused := [option for option, is_given in options.items() if is_given]:
            raise ValueError(f"--model: {', '.join(refused)}: not with an exported model.")
        segmenter = Segmenter.from_export(
            self.models[0],
            scales=self.settings.scales,
            horizontal_flip=self.settings.horizontal_flip,
            crf=self.crf,
            max_pixels=self.settings.max_pixels,
        )
        if self.probabilities and not segmenter.predictor.models[0].has_probabilities:
            raise ValueError(
                f"--probabilities: {self.models[0]} returns none. Export it with "
                "--outputs probabilities."
            )
        return segmenter


def _check_frames(sources: Sources) -> None:
    """Refuse images in a folder of a video's name: both are labelled in labels/NAME."""
    for name, image in sources.images.items():
        for folder in map(str, PurePath(name).parents):
            if folder in sources.videos:
                raise ValueError(
                    f"--save-frames: the labels of {sources.videos[folder]} and of {image} would "
                    f"both be in labels/{folder}. Predict the videos separately, with another "
                    "--out."
                )
