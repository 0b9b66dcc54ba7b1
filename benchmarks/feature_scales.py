"""How long the feature vectors of a network's layers are, on real images.

    python -m benchmarks.feature_scales runs/mine --out scales
    python -m benchmarks.feature_scales --weights VGG16_FILE --dataset camvid --data-dir DIR --out scales

ParseNet's reason to normalise features before it joins them (sec. 3.2 and Fig. 2): those of early
layers are far longer than those of late ones and drown them. Prints a table of the L2 norms of
conv3_3, conv4_3, conv5_3 and fc7 over all positions, and of pool6, the mean of fc7, over all
images, and writes it as feature_scales.json with a plot next to it.
"""  # noqa: E501  commands stand on one line

from pathlib import Path

import keras
import numpy as np
import tyro
from keras import ops
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from keras_dpn import viz
from keras_dpn.models import ParseNet
from keras_dpn.models.pretrained import load_pretrained
from training.data.dataset import Dataset
from training.data.registry import load_dataset
from training.data.sampling import read_samples
from training.rundir.dataset import run_dataset
from training.rundir.models import load_model
from training.utils.files import write_bytes, write_json
from training.utils.progress import progress

# The papers' names and our layers; pool6 is the mean of the last.
LAYERS = {"conv3_3": "b5_conv3", "conv4_3": "b7_conv3", "conv5_3": "b8_conv3", "fc7": "b10"}
QUARTILES = (0.25, 0.5, 0.75)


def feature_norms(
    model: keras.Model, dataset: Dataset, split: str, count: int
) -> dict[str, np.ndarray]:
    """The L2 norms of a network's features.

    Args:
        model: a network of ours for images.
        dataset: where the images are from.
        split: one of the data set's.
        count: images, evenly spaced over the split.

    Returns:
        By layer, from "conv3_3" to "pool6", the norms at all positions of all images; of pool6 one
        an image.

    Raises:
        ValueError: if the network lacks one of the layers or takes clips, and as `read_samples`.
    """
    probe = _norms_model(model)
    found = {name: [] for name in (*LAYERS, "pool6")}
    samples = read_samples(dataset, split, count)
    for sample in progress(samples, "reading features"):
        norms = probe.predict_on_batch(sample.image[None].astype("float32"))
        for name, values in norms.items():
            found[name].append(np.ravel(values))
    return {name: np.concatenate(values) for name, values in found.items()}


def _norms_model(model: keras.Model) -> keras.Model:
    """The norm of each position's features, by layer: (B, h, w), and (B,) of pool6."""
    known = {layer.name for layer in model.layers}
    missing = [layer for layer in LAYERS.values() if layer not in known]
    if missing or len(model.inputs) != 1:
        raise ValueError(
            "Expected a network for images with a VGG16 backbone (layers "
            f"{', '.join(LAYERS.values())}), received {model.name!r}."
        )
    features = {
        name: ops.cast(model.get_layer(layer).output, "float32") for name, layer in LAYERS.items()
    }
    features["pool6"] = ops.mean(features["fc7"], axis=(1, 2))
    norms = {name: ops.sqrt(ops.sum(ops.square(x), axis=-1)) for name, x in features.items()}
    return keras.Model(model.input, norms)


def scales_table(scales: dict[str, list[float]], title: str) -> Table:
    """Lower quartile, median and upper quartile of each layer's norms."""
    table = Table("layer", title=title)
    for column in ("25%", "median", "75%"):
        table.add_column(column, justify="right")
    for name, values in scales.items():
        table.add_row(name, *(f"{value:.4g}" for value in values))
    return table


def main(
    work_dir: Positional[Path | None] = None,
    *,
    out: Path,
    stage: str | None = None,
    weights: str | None = None,
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: str = "val",
    images: int = 20,
) -> None:
    """Measures how long the feature vectors of a network's layers are.

    Args:
        work_dir: directory of a training run.
        out: directory to write to.
        stage: the best model of this stage of the run, not the final model.
        weights: instead of a run, ParseNet filled with a VGG16 file, as `keras-dpn train --weights`
            takes it.
        dataset: one of `training.configs.datasets.NAMES`; that of the run by default.
        data_dir: directory of the data set; those that are generated need none.
        split: of the data set.
        images: how many, evenly spaced over the split.
    """
    if (work_dir is None) == (weights is None):
        raise ValueError("Expected either the directory of a run or --weights.")
    if work_dir is not None:
        data = run_dataset(work_dir, dataset, data_dir)
        model, source = load_model(work_dir, stage), work_dir
    elif dataset is None:
        raise ValueError("--weights needs images to look at: name a --dataset.")
    else:
        data = load_dataset(dataset, data_dir)
        keras.utils.set_random_seed(0)  # of layers that the file doesn't fill
        model, source = ParseNet(fusion=None, normalize=False), weights
        left = load_pretrained(model, weights).left
        print(f"note: {weights} fills all but {', '.join(left)}, which are random")
    norms = feature_norms(model, data, split, images)
    scales = {name: np.quantile(values, QUARTILES).tolist() for name, values in norms.items()}
    content = viz.figure_png(viz.plot_feature_scales(scales))
    target = out / "feature_scales.png"
    write_bytes(target, content)
    about = {"source": str(source), "stage": stage, "dataset": data.name, "split": split}
    about["images"] = len(norms["pool6"])
    rows = {
        name: dict(zip(("lower_quartile", "median", "upper_quartile"), row, strict=True))
        for name, row in scales.items()
    }
    write_json(target.with_suffix(".json"), {**about, "norms": rows})
    Console().print(scales_table(scales, f"L2 norms of features: {data.name}, {split}"))
    print(f"written: {target}, {target.with_suffix('.json')}")


if __name__ == "__main__":
    tyro.cli(main)
