"""Make a preset of a finished run: its network, its classes, its scores and a model card.

    keras-dpn preset runs/street --out presets/mine --size 360 --notes notes.md --description "..."

Then `keras_dpn.Segmenter.from_preset("presets/mine")` and `keras-dpn predict photo.jpg --model
presets/mine --out labelled` use it.
"""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional


def main(
    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")],
    /,
    *,
    out: Path,
    description: str,
    size: int | None = None,
    notes: Path | None = None,
    split: str = "val",
    data_dir: Path | None = None,
    weights_dtype: Literal["float32", "float16", "int8"] = "float16",
) -> None:
    """Make a preset of a finished run.

    Args:
        run: directory of the finished run.
        out: the preset's directory, a new one.
        description: one line: what the network labels, and what it was trained on.
        size: shorter side, in pixels, of the images that it was trained on; others are resized to
            it. By default they are not.
        notes: a Markdown file for the model card: weaknesses of the network, licence and terms of
            its data.
        split: split on which the model card scores the network: train, val or test.
        data_dir: directory of the run's dataset, if it has moved.
        weights_dtype: dtype of the stored weights, which are also the ones that are scored.
    """
    from ..export.preset import make_preset
    from ..rundir.dataset import run_dataset

    text = notes.read_text(encoding="utf-8") if notes else ""
    make_preset(
        run,
        run_dataset(run, None, data_dir),
        split,
        out,
        description=description,
        size=size,
        notes=text,
        weights_dtype=weights_dtype,
    )
    print(f"written: {out}")
