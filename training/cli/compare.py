"""Compares evaluations of the same images: which differences in mIoU are more than chance.

    python -m training.evaluate --work-dir runs/a --each-stage
    python -m training.evaluate --work-dir runs/b --each-stage
    python -m training.compare runs/a:contexts runs/b:contexts runs/b:joint

prints a table of each one against the first, with the interval of a paired bootstrap over the
images, and the images that changed most.
"""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional


def main(
    runs: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN[:STAGE] ...")],
    split: str = "val",
    block: int = 1,
    samples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
    changed: int = 3,
    out: Path | None = None,
) -> None:
    """Compares evaluations of the same images, each one with the first.

    Args:
        runs: two or more directories of runs, or JSON files of training.evaluate; RUN:STAGE is one
            stage of it, by default the last.
        split: of a run's evaluations, the one on this split.
        block: draw so many successive images together; for the frames of a film, as many as are
            alike.
        samples: draws of the bootstrap.
        confidence: of the interval, between 0 and 1.
        seed: of the draws.
        changed: show so many images that gained most, and as many that lost most; 0: none.
        out: JSON file to write, with the scores of every image.
    """
    from rich.console import Console

    from ..evaluation.comparison import compare
    from ..evaluation.results import load_counts
    from ..evaluation.tables import change_table, comparison_table
    from ..rundir.paths import write_json

    if len(runs) < 2:
        raise ValueError(f"Expected two evaluations or more to compare, received {len(runs)}.")
    first, *others = (load_counts(text, split) for text in runs)
    comparisons = {
        other.title: compare(
            first, other, block_size=block, resamples=samples, confidence=confidence, seed=seed
        )
        for other in others
    }
    if out is not None:
        options = {"block": block, "samples": samples, "confidence": confidence, "seed": seed}
        compared = {title: comparison.to_json() for title, comparison in comparisons.items()}
        write_json(out, {"first": first.title, "split": split, **options, "compared": compared})
    console = Console()
    title = f"{len(first.names)} images of {split}: against {first.title}"
    console.print(comparison_table(title, first.title, comparisons, confidence))
    for other, comparison in comparisons.items() if changed else ():
        console.print(change_table(f"{first.title} → {other}", comparison.images, changed))
