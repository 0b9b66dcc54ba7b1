"""Compare evaluations of the same images: which differences in mIoU are more than chance.

    keras-dpn evaluate runs/a --per-stage
    keras-dpn evaluate runs/b --per-stage
    keras-dpn compare runs/a:contexts runs/b:contexts runs/b:joint

Prints a table of each evaluation against the first, with the interval of a paired bootstrap over
the images, and the images that changed most.
"""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional


def main(
    runs: Annotated[
        Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="RUN[:HEAD] ...", help_behavior_hint="(required)"),
    ],
    /,
    *,
    split: str = "val",
    block_size: int = 1,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
    num_images: int = 3,
    out: Path | None = None,
    force: bool = False,
) -> None:
    """Compare evaluations of the same images, each one with the first.

    Args:
        runs: two or more directories of runs, or JSON files of `keras-dpn evaluate`; RUN:HEAD is
            one head, or stage of training, of the evaluation, by default the last.
        split: split of the runs' evaluations: train, val or test.
        block_size: resample blocks of N successive images; for video frames, about as many as look
            alike.
        resamples: number of resamples of the bootstrap.
        confidence: confidence level of the interval, between 0 and 1.
        seed: seed of the resampling.
        num_images: show the N images that gained most and the N that lost most.
        out: JSON file to write, with the scores of every image.
        force: replace a file that this command did not write.
    """
    from ..evaluation.comparison import compare
    from ..evaluation.results import load_counts
    from ..evaluation.tables import change_table, comparison_table
    from ..rundir.outputs import replacing
    from ..utils.console import console
    from ..utils.counts import counted
    from ..utils.files import write_json

    if len(runs) < 2:
        raise ValueError(f"Expected two evaluations or more to compare, received {len(runs)}.")
    numbers = {"block-size": (block_size, 1), "resamples": (resamples, 1)}
    for option, (number, least) in {**numbers, "num-images": (num_images, 0)}.items():
        if number < least:
            raise ValueError(f"--{option}: expected a number from {least} up, received {number}.")
    first, *others = (load_counts(text, split) for text in runs)
    split = first.split or split  # a file may be of another
    comparisons = {
        other.title: compare(
            first,
            other,
            block_size=block_size,
            resamples=resamples,
            confidence=confidence,
            seed=seed,
        )
        for other in others
    }
    if out is not None:
        values = {"first": first.title, "split": split, "block": block_size, "samples": resamples}
        values |= {"confidence": confidence, "seed": seed}
        compared = {title: comparison.to_json() for title, comparison in comparisons.items()}
        with replacing(out, command="compare", force=force):
            write_json(out, {**values, "compared": compared})
    output = console()
    title = f"{counted(len(first.names), 'image')} of {split}: against {first.title}"
    output.print(comparison_table(title, first.title, comparisons, confidence))
    for other, comparison in comparisons.items() if num_images else ():
        output.print(change_table(f"{first.title} → {other}", comparison.images, num_images))
