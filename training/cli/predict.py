"""Label images and videos.

    keras-dpn predict photos/ drive.mp4 --model dpn_scenes --out labelled --overlay

Writes labels/NAME.png, a palette PNG whose values are the labels, and on request overlays/NAME.png,
heads/NAME.png and probabilities/NAME.npz. Of a video it writes videos/NAME.mp4, the video next to
its labels, videos/NAME.json with its temporal consistency, and on request overlays/NAME.mp4, or
with --save-frames labels/NAME/000123.png instead of videos/NAME.mp4. predict.json has the settings,
and the names and colours of the labels. Files that can't be read, and broken frames, are skipped
and listed at the end and in errors.jsonl; the exit code is then 2. After an interruption the same
command with --resume continues.

    keras-dpn predict s3://bucket/photos --model dpn_scenes --out labelled --ray local --workers 4

labels the images in several processes, or on several machines, with Ray.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from ..utils.counts import counted
from ..utils.ray_cluster import ClusterOptions
from .options import Inference, InferenceOptions, Models

logger = logging.getLogger("keras_dpn")

_NAMED = 5  # files in a message


def main(
    images: Annotated[
        Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="IMAGES ...", help_behavior_hint="(required)"),
    ],
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
    manifest: Path | None = None,
    ray: str | None = None,
    workers: int | None = None,
    worker_cpus: int = 1,
    worker_gpus: int = 0,
) -> None:
    """Label images and videos.

    Args:
        images: images and videos: files, folders, quoted patterns such as 'shots/**/*.jpg', URLs
            such as s3://bucket/shots, or manifests: .jsonl or .parquet files with a column `path`.
        model: a preset, or the directory of a training run; the probabilities of several are
            averaged. Or the directory of an exported model, which is a program: open only those
            whose maker you trust.
        out: directory for the results.
        inference: how images are labelled. Networks for clips take frames as they are, without
            --horizontal-flip and --tile.
        heads: also write heads/NAME.png, the labels of each head of the network side by side.
        probabilities: also write probabilities/NAME.npz, float16 (height, width, classes).
        overlay: also write overlays/NAME.png, the labels' colours over the image, or for a video
            overlays/NAME.mp4.
        keep_size: label images at their own size. By default they are resized to the size that the
            network was trained on, if its preset names one.
        save_frames: of videos, write labels/NAME/000123.png for every frame instead of
            videos/NAME.mp4.
        image_sequence: take each folder as one video, its images in the order of their names.
        resume: skip what an earlier run has labelled, with the same models and settings, unless
            the file is another one than then or has changed.
        force: also replace files that this command did not write, such as a dataset's labels.
        manifest: also write a list of the results, .jsonl or .parquet: each image with its size,
            the fraction of each class and the network's confidence.
        ray: label on the workers of a Ray cluster: "local" starts a cluster on this machine, "auto"
            is the one that this machine belongs to; or HOST:PORT. --out must then be on a disk that
            all its machines share.
        workers: processes on the cluster, each with the network; by default as many as fit.
        worker_cpus: processors per worker, which are also the threads of its network.
        worker_gpus: GPUs per worker.
    """
    from ..prediction.job import predict
    from ..prediction.settings import PredictionJob

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
        manifest=manifest,
        cluster=_cluster(ray, workers, worker_cpus, worker_gpus),
    )
    summary = predict(job)
    if summary.num_images or summary.num_skipped:
        print(f"{out}: labelled {counted(summary.num_images, 'image')}")
    if summary.num_skipped:
        print(f"labelled before: {counted(summary.num_skipped, 'image')}")
    if summary.num_skipped_videos:
        print(f"labelled before: {counted(summary.num_skipped_videos, 'video')}")
    if unfamiliar := summary.unfamiliar:
        first = ", ".join(map(str, unfamiliar[:_NAMED])) + (", ..." if unfamiliar[_NAMED:] else "")
        logger.warning(
            "%d of %s unlike the training images, the network is less confident than of any "
            "validation image: %s",
            len(unfamiliar),
            counted(summary.num_images, "image"),
            first,
        )
    if summary.unreadable:
        raise ValueError(
            f"{len(summary.unreadable)} of {summary.num_sources} files could not be read in full."
        )


def _cluster(
    address: str | None, workers: int | None, cpus: int, gpus: int
) -> ClusterOptions | None:
    if address is not None:
        return ClusterOptions(address, workers, cpus, gpus)
    if (workers, cpus, gpus) != (None, 1, 0):
        raise ValueError("--workers, --worker-cpus and --worker-gpus: only with --ray.")
    return None
