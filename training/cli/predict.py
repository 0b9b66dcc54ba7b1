"""Label images and videos.

    keras-dpn predict photos/ drive.mp4 --model dpn_scenes --out labelled --overlay

Writes labels/NAME.png, a palette PNG whose values are the labels, and on request overlays/NAME.png,
heads/NAME.png and probabilities/NAME.npz. Of a video it writes videos/NAME.mp4, the video next to
its labels, videos/NAME.json with its temporal consistency, and on request overlays/NAME.mp4, or
with --save-frames labels/NAME/000123.png instead of videos/NAME.mp4. Files that can't be read, and
broken frames, are skipped and named at the end; the exit code is then 2. After an interruption the
same command with --resume continues.
"""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from .options import Inference, InferenceOptions, Models


def main(
    images: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGES ...")],
    /,
    *,
    model: Models,
    out: Path,
    inference: Inference = InferenceOptions(memory_gib=4.0),
    heads: bool = False,
    probabilities: bool = False,
    overlay: bool = False,
    keep_size: bool = False,
    save_frames: bool = False,
    image_sequence: bool = False,
    resume: bool = False,
    force: bool = False,
) -> None:
    """Label images and videos.

    Args:
        images: images and videos: files, folders, or quoted patterns such as 'shots/**/*.jpg'.
        model: a preset, or the directory of a training run; the probabilities of several are
            averaged.
        out: directory for the results.
        inference: how images are labelled. Networks for clips take frames as they are, without
            --horizontal-flip and --tile.
        heads: also write heads/NAME.png, the labels of each head of the network side by side.
        probabilities: also write probabilities/NAME.npz, float16 (height, width, classes).
        overlay: also write overlays/NAME.png, the labels' colours over the image, or for a video
            overlays/NAME.mp4.
        keep_size: label images at the size that they have. By default they are resized to what
            the network was trained on, where its preset says so.
        save_frames: of videos, write labels/NAME/000123.png for every frame instead of
            videos/NAME.mp4.
        image_sequence: take each folder as one video, its images in the order of their names.
        resume: skip the images that an earlier run has labelled, with the same models and
            settings.
        force: also replace files that no earlier run has written, such as a dataset's labels.
    """
    from dataclasses import replace

    from ..prediction.job import PredictionJob, predict

    if inference.tile is not None:
        inference = replace(inference, memory_gib=None)
    job = PredictionJob(
        paths=images,
        models=model,
        out=out,
        settings=inference.settings(),
        crf=inference.crf_settings(),
        precision=inference.precision,
        keep_size=keep_size,
        heads=heads,
        probabilities=probabilities,
        overlay=overlay,
        save_frames=save_frames,
        image_sequence=image_sequence,
        resume=resume,
        force=force,
    )
    summary = predict(job)
    if summary.num_images or summary.num_skipped:
        print(f"{out}: labelled {summary.num_images} images")
    if summary.num_skipped:
        print(f"{summary.num_skipped} images were labelled before")
    if summary.unreadable:
        raise ValueError(
            f"{len(summary.unreadable)} of {summary.num_sources} files could not be read in full."
        )
