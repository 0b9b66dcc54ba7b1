"""Makes a preset of a finished run: its network, its classes, its scores and a model card.

    python -m training.preset --work-dir runs/street --out presets/mine --size 360 --notes notes.md

Anybody can then say `keras_dpn.Segmenter.from_preset("presets/mine")`, or
`python -m training.predict photo.jpg --model presets/mine --out labelled`.
"""

from pathlib import Path
from typing import Literal


def main(
    *,
    work_dir: Path,
    out: Path,
    description: str,
    size: int | None = None,
    notes: Path | None = None,
    split: str = "val",
    data_dir: Path | None = None,
    weights_dtype: Literal["float32", "float16"] = "float16",
) -> None:
    """Makes a preset of a finished run.

    Args:
        work_dir: directory of the finished run.
        out: the preset's directory, a new one.
        description: a line on what the network labels and what it was trained on.
        size: shorter side, in pixels, of the images that it was trained on; others are resized to
            it. By default they are not.
        notes: a Markdown file for the model card: what the network is bad at, licence and terms of
            its data.
        split: which the model card's scores are on; train, val or test.
        data_dir: directory of the run's dataset, where it has moved.
        weights_dtype: how the weights are stored; the scores are those of the stored ones.
    """
    from ..export.preset import make_preset
    from ..rundir.dataset import run_dataset

    text = notes.read_text(encoding="utf-8") if notes else ""
    make_preset(
        work_dir,
        run_dataset(work_dir, None, data_dir),
        split,
        out,
        description=description,
        size=size,
        notes=text,
        weights_dtype=weights_dtype,
    )
    print(f"written: {out}")
