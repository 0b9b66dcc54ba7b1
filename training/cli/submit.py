"""Writes what the evaluation servers of PASCAL VOC 2012 and Cityscapes take: a test set's labels.

    python -m training.submit --work-dir RUN --data-dir DIR --out results.tgz

Several runs are averaged: --work-dir RUN --work-dir RUN2.

VOC's archive holds results/VOC2012/Segmentation/comp6_test_cls/NAME.png, palette PNG files of the
21 labels: the competition of those who trained with other data too, as pre-trained weights are.
Cityscapes' holds CITY_SEQUENCE_FRAME_labelIds.png, grey PNG files of its own ids at full size. The
name's ending says whether it is a .zip, .tar, .tgz or .tar.gz; both servers take .zip or .tgz.
"""

from pathlib import Path

from .options import Precision, Sources


def main(
    *,
    work_dir: Sources,
    out: Path,
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: str = "test",
    scales: tuple[float, ...] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    memory: float | None = None,
    precision: Precision = "float32",
    crf: Path | None = None,
) -> None:
    """Labels a test set and writes the archive that its evaluation server takes.

    Args:
        work_dir: directory of the training run, or a preset; given several times, the
            probabilities are averaged. Pictures are labelled in their own size.
        out: the archive to write: *.zip, *.tar, *.tgz or *.tar.gz.
        dataset: voc or cityscapes; that of the (first) run by default.
        data_dir: directory of the data set; that of the (first) run by default.
        split: test; or val, to try the server's own tools on.
        scales: factors at which each picture is looked at; the probabilities are averaged.
        mirror: average with the mirrored picture as well.
        tile: look at larger pictures in overlapping tiles of this side in pixels, a multiple of
            32.
        memory: choose the tile so that a pass takes no more than so many GiB.
        precision: what the networks compute in.
        crf: JSON file with a fully connected CRF's settings, as training.crf_search writes it.
    """
    from keras_dpn.inference import InferenceSettings, Predictor
    from keras_dpn.inference.loading import load_trained

    from ..configs.crf import read_crf
    from ..rundir.dataset import source_dataset
    from ..prediction.submission import submit

    settings = InferenceSettings(
        scales=scales, horizontal_flip=mirror, tile=tile, memory_gib=memory
    )
    crf_settings = read_crf(crf) if crf else None
    data = source_dataset(work_dir, dataset, data_dir)
    networks = load_trained(work_dir, precision).models
    count = submit(Predictor(networks, settings, crf=crf_settings), data, split, out)
    print(f"{count} pictures labelled in {out}")
