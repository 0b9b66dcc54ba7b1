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
    """
    import json
    from dataclasses import asdict

    from keras_dpn.segmenter import Segmenter

    from ..prediction.images import keep_settings, label_pictures, without_done
    from ..prediction.sources import check_options, find_sources, model_identity
    from ..prediction.video import label_videos

    if not images:
        raise ValueError("No image or video given: name files, folders or quoted patterns.")
    pictures, videos = find_sources(images, out, image_sequence)
    check_options(videos, stages=heads, probabilities=probabilities, frames=save_frames)
    crf_settings = inference.crf_settings()
    segmenter = Segmenter.from_preset(
        model,
        scales=inference.scales,
        horizontal_flip=inference.horizontal_flip,
        tile=inference.tile,
        memory_gib=inference.memory_gib,
        heads="all" if heads else None,
        crf=crf_settings,
        precision=inference.precision,
        size=None if keep_size else "preset",
    )
    unreadable = []
    if pictures:
        settings = asdict(segmenter.predictor.settings) | {"size": segmenter.size}
        settings |= {"models": [model_identity(m) for m in model]}
        settings |= {"precision": inference.precision, "crf": crf_settings}
        keep_settings(out, json.loads(json.dumps(settings)), resume)
        wanted = {"stages": heads, "probabilities": probabilities, "overlays": overlay}
        kinds = ("labels", *(kind for kind, on in wanted.items() if on))
        todo = without_done(pictures, out, kinds) if resume else pictures
        unreadable += label_pictures(segmenter, todo, out, kinds)
        print(f"{out}: labelled {len(todo) - len(unreadable)} images")
        if len(todo) < len(pictures):
            print(f"{len(pictures) - len(todo)} images were labelled before")
    if videos:
        unreadable += label_videos(segmenter, videos, out, overlay=overlay, frames=save_frames)
    if unreadable:
        count = len(pictures) + len(videos)
        raise ValueError(f"{len(unreadable)} of {count} files could not be read in full.")
