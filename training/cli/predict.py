"""Labels pictures and videos with a trained model.

    python -m training.predict photos/ film.mp4 --model runs/demo --out labelled --overlay

writes labels/NAME.png (a palette PNG: its values are the labels), and on request overlays/NAME.png,
stages/NAME.png and probabilities/NAME.npz. Stopped, the same command with --resume carries on. Of a
video it writes videos/NAME.mp4, which shows it beside its labels, videos/NAME.json with its
temporal consistency, and on request overlays/NAME.mp4, or with --frames labels/NAME/000123.png
instead of videos/NAME.mp4.
"""

from pathlib import Path

from tyro.conf import Positional

from .options import Models, Precision


def main(
    paths: Positional[tuple[Path, ...]],
    /,
    *,
    model: Models,
    out: Path,
    stages: bool = False,
    probabilities: bool = False,
    overlay: bool = False,
    scales: tuple[float, ...] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    memory: float = 4.0,
    precision: Precision = "float32",
    crf: Path | None = None,
    keep_size: bool = False,
    frames: bool = False,
    as_video: bool = False,
    resume: bool = False,
) -> None:
    """Labels pictures and videos with a trained model.

    Writes labels/NAME.png under the output directory: a palette PNG whose values are the labels.
    Of a video it writes videos/NAME.mp4, the video beside its labels, at a size for a screen, and
    videos/NAME.json with its temporal consistency. Files that can't be read, and broken frames, are
    skipped and named at the end; the exit code is then 2.

    Args:
        paths: files, folders, or quoted patterns such as 'shots/**/*.jpg'; videos are known by
            their suffix: .avi, .m4v, .mkv, .mov, .mp4 or .webm.
        model: a preset, as dpn_camvid, or the directory of a training run; given several times,
            their probabilities are averaged.
        out: directory for the results.
        stages: also write stages/NAME.png, the labels after each stage side by side.
        probabilities: also write probabilities/NAME.npz, float16 (height, width, classes).
        overlay: also write overlays/NAME.png, the labels' colours over the picture, or for a video
            overlays/NAME.mp4.
        scales: factors at which each picture, or frame, is looked at; the probabilities are
            averaged. Networks for clips see frames as they are, without --mirror and --tile.
        mirror: average with the mirrored picture as well.
        tile: look at larger pictures in overlapping tiles of this side in pixels, a multiple of 32
            from 512 up; by default as large as the memory allows.
        memory: GiB that a pass of the network may take. Videos, --stages, --probabilities and --crf
            need memory for the probabilities of whole pictures beside it.
        precision: what the network computes in.
        crf: JSON file with a fully connected CRF's settings, as training.crf_search writes it; the
            CRF then has the last word.
        keep_size: look at pictures at the size that they have. By default they are resized to what
            the network was trained on, where its preset says so.
        frames: of videos, write labels/NAME/000123.png for every frame instead of videos/NAME.mp4.
        as_video: take each folder for one video, its pictures in order of their names.
        resume: skip the pictures that an earlier run has labelled, with the same models and
            settings.
    """
    import json
    from dataclasses import asdict

    from keras_dpn.segmenter import Segmenter

    from ..configs.crf import read_crf
    from ..prediction.images import keep_settings, label_pictures, without_done
    from ..prediction.sources import check_options, find_sources, model_identity
    from ..prediction.video import label_videos

    if not paths:
        raise ValueError("No picture or video given: name files, folders or quoted patterns.")
    pictures, videos = find_sources(paths, out, as_video)
    check_options(videos, stages=stages, probabilities=probabilities, frames=frames)
    crf_settings = read_crf(crf) if crf else None
    segmenter = Segmenter.from_preset(
        model,
        scales=scales,
        horizontal_flip=mirror,
        tile=tile,
        memory_gib=memory,
        heads="all" if stages else None,
        crf=crf_settings,
        precision=precision,
        size=None if keep_size else "preset",
    )
    unreadable = []
    if pictures:
        settings = asdict(segmenter.predictor.settings) | {"size": segmenter.size}
        settings |= {"models": [model_identity(m) for m in model], "precision": precision}
        keep_settings(out, json.loads(json.dumps(settings | {"crf": crf_settings})), resume)
        wanted = {"stages": stages, "probabilities": probabilities, "overlays": overlay}
        kinds = ("labels", *(kind for kind, on in wanted.items() if on))
        todo = without_done(pictures, out, kinds) if resume else pictures
        unreadable += label_pictures(segmenter, todo, out, kinds)
        print(f"{len(todo) - len(unreadable)} pictures labelled in {out}")
        if len(todo) < len(pictures):
            print(f"{len(pictures) - len(todo)} were labelled before")
    if videos:
        unreadable += label_videos(segmenter, videos, out, overlay=overlay, frames=frames)
    if unreadable:
        count = len(pictures) + len(videos)
        raise ValueError(f"{len(unreadable)} of {count} files could not be read in full.")
