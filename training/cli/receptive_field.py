"""Measure which part of an image a unit of a network sees: in theory, and in effect.

    keras-dpn receptive-field runs/mine street.jpg --layer b10 --out field

Covers one position of the image after another with a small patch of noise and measures how much the
unit changes (ParseNet, section 3.1; Zhou et al., ICLR 2015). Writes field/b10.png, the changes over
the image with the theoretical field as a frame, and field/b10.json with the numbers.
"""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional


def main(
    model: Annotated[Positional[Path], tyro.conf.arg(metavar="MODEL")],
    image: Annotated[Positional[Path], tyro.conf.arg(metavar="IMAGE")],
    /,
    *,
    layer: str,
    out: Path,
    unit: tuple[int, int] | None = None,
    channel: int | None = None,
    patch: int = 16,
    stride: int = 8,
    batch_size: int = 8,
    threshold: float = 0.1,
    seed: int = 0,
    force: bool = False,
) -> None:
    """Measure what a unit of a network sees of an image, and write LAYER.png and LAYER.json.

    Args:
        model: the directory of a run, or a `.keras` file with any functional model of images.
        image: an image file.
        layer: name of a layer that returns a feature map, such as b10.
        out: directory to write to.
        unit: row and column of the unit's cell; by default the centre of the map.
        channel: the unit's channel; by default the length of the change of all channels together.
        patch: side of the patch of noise, in pixels.
        stride: pixels from one position of the patch to the next.
        batch_size: images per forward pass.
        threshold: fraction of the largest change above which a position counts as seen.
        seed: seed of the noise.
        force: replace files that this command did not write.
    """
    from keras_dpn.io.images import read_image

    from ..analysis.receptive_field import Experiment, load_network, measure
    from ..rundir.outputs import replacing

    experiment = Experiment(
        unit=unit,
        channel=channel,
        patch=patch,
        stride=stride,
        batch_size=batch_size,
        threshold=threshold,
        seed=seed,
    )
    plot = out / f"{layer}.png"
    with replacing(plot, plot.with_suffix(".json"), command="receptive-field", force=force):
        network, pixels = load_network(model), read_image(image)
        measurement = measure(network, pixels, layer, experiment)
        measurement.save(plot, pixels, model=str(model), image=str(image))
    for reason in measurement.unlimited:
        print(f"note: {reason}")
    print(measurement.describe())
    print(f"written: {plot}, {plot.with_suffix('.json')}")
