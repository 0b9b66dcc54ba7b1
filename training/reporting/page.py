"""One self-contained page about a training run, about several, or about an ablation."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from ..data.dataset import Dataset
from ..data.sampling import read_samples
from ..rundir.models import load_classes, load_model
from ..rundir.outputs import replacing
from ..utils.files import write_bytes
from .ablation import ablation_page, is_ablation, read_ablation
from .comparison import comparison_page
from .context import ReportContext, Section, render_sections
from .rendering import render
from .runs import Run, choose, read_runs
from .sections.affinities import LabelAffinities
from .sections.contexts import LabelContexts
from .sections.curves import BoundaryScores, ConfusionMatrix, TrainingCurves
from .sections.images import HeadImages, StageImages
from .sections.scores import EvaluationScores, Facts, StageScores
from .sections.settings import Settings
from .sections.video import VideoFrames

SECTIONS: tuple[Section, ...] = (
    Facts(),
    StageScores(),
    EvaluationScores(),
    StageImages(),
    HeadImages(),
    VideoFrames(),
    LabelAffinities(),
    LabelContexts(),
    BoundaryScores(),
    TrainingCurves(),
    ConfusionMatrix(),
    Settings(),
)


def write_report(
    work_dirs: Sequence[Path],
    dataset: Dataset,
    *,
    split: str | None = None,
    num_images: int = 6,
    block_size: int = 1,
    out: Path | None = None,
    force: bool = False,
) -> Path:
    """Write a page from the results, history, evaluations and models of runs.

    Args:
        work_dirs: directories of finished training runs, or that of one ablation.
        dataset: the dataset they were trained on.
        split: split of the images; by default the first of val, test and train on which
            `keras-dpn evaluate` has scored every image in all runs, else val.
        num_images: how many images to show; 0 for none, of a dataset that must not be
            redistributed.
        block_size: as in `metrics.paired_bootstrap`, where runs are compared.
        out: the file; by default report.html in the run's directory, comparison.html in that of the
            first of several, or ablation.html.
        force: replace a file that is no page of this function.

    Returns:
        The page's path.

    Raises:
        ValueError: if a run has no results or other classes, or the split no images; if the
            network takes clips and the dataset has none; for an ablation with a split or block;
            and if the page would replace a file of others.
    """
    if num_images < 0:
        raise ValueError(f"`num_images`: expected 0 or more, received {num_images}.")
    out = out or default_page(work_dirs)
    with replacing(out, command="report", force=force, recognizes=is_page):
        content = _render(work_dirs, dataset, split, num_images, block_size)
        write_bytes(out, content.encode())
    return out


def default_page(work_dirs: Sequence[Path]) -> Path:
    """Return the file that a report is written to by default."""
    if is_ablation(work_dirs):
        return work_dirs[0] / "ablation.html"
    return work_dirs[0] / ("report.html" if len(work_dirs) == 1 else "comparison.html")


def is_page(path: Path) -> bool:
    """Return whether a file is a page that `write_report` has written, by its first bytes."""
    with path.open("rb") as stream:
        return b'<meta name="generator" content="keras-dpn report">' in stream.read(1000)


def _render(
    work_dirs: Sequence[Path], dataset: Dataset, split: str | None, num_images: int, block_size: int
) -> Markup:
    if is_ablation(work_dirs):
        if split is not None or block_size != 1:
            raise ValueError(
                f"{work_dirs[0]}: an ablation has its own split and block size; leave them out."
            )
        return ablation_page(work_dirs[0], dataset, num_images)
    runs = read_runs(work_dirs)
    _check_classes(work_dirs, dataset)
    if len(runs) == 1:
        return run_page(runs[0], dataset, split, num_images)
    return comparison_page(runs, dataset, split, num_images, block_size)


def first_run(work_dirs: Sequence[Path]) -> Path:
    """Return the directory of the run whose dataset a report shows.

    Raises:
        ValueError: without a directory, and for an ablation without scores.
    """
    if not work_dirs:
        raise ValueError("Expected a training run: name the directory of one or several.")
    return (
        read_ablation(work_dirs[0]).rows[0].subject.run if is_ablation(work_dirs) else work_dirs[0]
    )


def run_page(run: Run, dataset: Dataset, split: str | None, num_images: int) -> Markup:
    """Render the page about one run; arguments as in `write_report`."""
    split, titles = choose([run], split, num_images)
    model = load_model(run.work_dir)
    count = max(num_images, 1)  # at least one, for the sections about the network
    names = list(titles) if titles else None
    samples = read_samples(dataset, split, count, model.clip_frames, names)
    context = ReportContext(run, dataset, model, split, samples, num_images, titles)
    return render(
        "page",
        title=f"{run.network} on {dataset.name}",
        subtitle=f"{dataset.classes.num_classes} classes, seed {run.seed}; {run.summary}",
        sections=render_sections(SECTIONS, context),
    )


def _check_classes(work_dirs: Sequence[Path], dataset: Dataset) -> None:
    for other in work_dirs[1:]:
        if (names := load_classes(other).names) != dataset.classes.names:
            raise ValueError(
                f"{other}: expected a run with the classes {', '.join(dataset.classes.names)}, "
                f"received one with {', '.join(names)}."
            )
