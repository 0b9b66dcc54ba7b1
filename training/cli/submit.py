"""Label a test set and write the archive that its evaluation server takes.

    keras-dpn submit runs/voc --out results.tgz

Knows the servers of PASCAL VOC 2012 and Cityscapes. VOC's archive holds palette PNG files of the 21
labels, results/VOC2012/Segmentation/comp6_test_cls/NAME.png: the competition for training with
other data too, such as pretrained weights. Cityscapes' holds grey PNG files of its own ids at full
size, CITY_SEQUENCE_FRAME_labelIds.png.
"""

from pathlib import Path

from ..utils.counts import counted
from .options import Dataset, DatasetOptions, Inference, InferenceOptions, Runs


def main(
    runs: Runs,
    /,
    *,
    out: Path,
    data: Dataset = DatasetOptions(split="test"),
    inference: Inference = InferenceOptions(),
    force: bool = False,
) -> None:
    """Label a test set and write the archive that its evaluation server takes.

    Args:
        runs: directories of training runs, or presets; the probabilities of several are averaged.
            Images are labelled at their own size.
        out: the archive to write: *.zip, *.tar, *.tgz or *.tar.gz; both servers take .zip and .tgz.
        data: the dataset, voc or cityscapes; the split val tries the server's own tools.
        inference: how images are labelled.
        force: replace a file that this command did not write.
    """
    from keras_dpn.inference import Predictor
    from keras_dpn.inference.loading import load_trained

    from ..prediction.submission import submit
    from ..rundir.dataset import source_dataset
    from ..rundir.outputs import replacing

    crf = inference.crf_settings()
    with replacing(out, command="submit", force=force):
        dataset = source_dataset(runs, data.dataset, data.data_dir)
        networks = load_trained(runs, inference.precision).models
        predictor = Predictor(networks, inference.settings(), crf=crf)
        count = submit(predictor, dataset, data.split, out)
    print(f"{out}: labels of {counted(count, 'image')}")
