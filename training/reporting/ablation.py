"""A report about an ablation: its scores, class by class, and the networks' predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from keras_dpn.inference import Predictor

from ..data.dataset import Dataset
from ..data.sampling import Sample, read_samples
from ..evaluation.comparison import Comparison
from ..evaluation.results import Evaluation, Subject, load_counts
from ..rundir.models import load_classes, load_model
from ..sweeps.table import ABLATION, Summary
from ..utils.progress import progress
from .comparison import images_section, significance_section
from .images import Predictions, predict_labels
from .rendering import Row, Table, render
from .runs import Run, ScoreColumn, choose_images
from .sections.scores import score_table
from .sections.settings import differences


@dataclass(frozen=True)
class AblationRow:
    """A row that has been scored.

    Args:
        name: of the row.
        title: for readers.
        paper: mean IoU in the paper, in %.
        against: the comparison with the reference; None for the reference.
        files: files of the evaluations, by seed.
        evaluations: content of the files.
        subject: the first seed's network.
    """

    name: str
    title: str
    paper: float | None
    against: Comparison | None
    files: Sequence[Path]
    evaluations: Sequence[Evaluation]
    subject: Subject

    @property
    def column(self) -> ScoreColumn:
        """The means of the last head's scores over the seeds."""
        columns = [ScoreColumn.of(self.title, evaluation.head()) for evaluation in self.evaluations]
        return ScoreColumn.mean(self.title, columns)


@dataclass(frozen=True)
class Ablation:
    """The results of `keras-dpn ablate` in a directory; the reference is the first of its rows."""

    summary: Summary
    rows: Sequence[AblationRow]


def is_ablation(work_dirs: Sequence[Path]) -> bool:
    """Return whether directories are that of one ablation."""
    return len(work_dirs) == 1 and (work_dirs[0] / ABLATION).is_file()


def read_ablation(work_dir: Path) -> Ablation:
    """Read the rows that have been scored.

    Raises:
        ValueError: if there is none, or an evaluation is missing.
    """
    summary, rows = Summary.load(work_dir), []
    for row in summary.rows:
        # The sweep's directory may have been moved since.
        files = [work_dir / "evaluations" / file.name for file in row.evaluations.values()]
        evaluations = [Evaluation.load(file) for file in files]
        if evaluations:
            if (subject := evaluations[0].subject) is None:
                raise ValueError(f"{files[0]}: expected the evaluation of a run's network.")
            about = row.name, row.title, row.paper, row.against
            rows.append(AblationRow(*about, files, evaluations, subject))
    if not rows:
        raise ValueError(f"{work_dir / ABLATION}: expected at least one row with scores.")
    return Ablation(summary, sorted(rows, key=lambda row: row.name != summary.reference))


def ablation_page(work_dir: Path, dataset: Dataset, num_images: int) -> Markup:
    """Render the page about an ablation; arguments as in `page.write_report`."""
    ablation = read_ablation(work_dir)
    samples: Sequence[Sample] = ()
    predictions: Sequence[Predictions] = ()
    titles = choose(ablation, num_images) if num_images else {}
    if titles:
        samples, predictions = predict(ablation, dataset, list(titles))
    sections = [
        score_tables(ablation),
        significance(ablation),
        images_section(
            samples,
            predictions,
            dataset,
            titles,
            text="Predictions of the first seed's network of each row.",
            column="row",
        ),
        settings(ablation),
    ]
    subtitle = ", ".join(row.title for row in ablation.rows)
    return render("page", title=ablation.summary.title, subtitle=subtitle, sections=sections)


def choose(ablation: Ablation, num_images: int) -> dict[str, str]:
    """Choose images with titles: best and worst of the best row, and most changed to it."""
    best = max(ablation.rows, key=lambda row: row.column.values["miou"] or 0.0)
    first, last = (load_counts(str(row.files[0]), "") for row in (ablation.rows[0], best))
    return choose_images(first, last, num_images)


def score_tables(ablation: Ablation) -> Markup:
    """Render all scores of all rows, and those of the papers."""
    summary = ablation.summary
    seeds = ", ".join(map(str, summary.seeds))
    text = (
        f"On {summary.split}, in %, {'means of the seeds' if len(summary.seeds) > 1 else 'seed'} "
        f"{seeds}, with the difference from the first row in percentage points."
    )
    names = load_classes(ablation.rows[0].subject.run).names
    tables = [score_table([row.column for row in ablation.rows], names, from_first=True)]
    if papers := [Row(row.title, [f"{row.paper:g}"]) for row in ablation.rows if row.paper]:
        tables.append(Table(["mean IoU in the paper", "%"], [papers]))
    return render("score_tables", title="Scores", text=text, tables=tables)


def significance(ablation: Ablation) -> Markup:
    """Render the paired bootstrap of the differences from the reference."""
    rows = {row.title: row.against for row in ablation.rows if row.against}
    first, summary = ablation.rows[0], ablation.summary
    num_images = first.evaluations[0].num_images
    return significance_section(rows, first.title, num_images, summary.split, summary.block_size)


def settings(ablation: Ablation) -> Markup:
    """Render the settings that differ, folded away: different networks share few of them."""
    runs = [Run.load(row.subject.run, row.title) for row in ablation.rows]
    return render("differences", table=differences(runs), is_folded=True)


def predict(
    ablation: Ablation, dataset: Dataset, names: Sequence[str]
) -> tuple[Sequence[Sample], Sequence[Predictions]]:
    """Return the samples of these names, and for each the label maps of all rows' first seeds."""
    predictions: Mapping[str, dict[str, np.ndarray]] = {name: {} for name in names}
    samples: Sequence[Sample] = ()
    for row in progress(ablation.rows, "images of the rows", len(ablation.rows)):
        evaluation, subject = row.evaluations[0], row.subject
        model = load_model(subject.run, subject.stage)  # one in memory at a time
        samples = read_samples(dataset, evaluation.split, len(names), model.clip_frames, names)
        heads = None if subject.head is None else (subject.head,)
        predictor = Predictor(model, heads=heads, crf=evaluation.crf)
        for sample in samples:
            predictions[sample.name][row.title] = predict_labels(predictor, sample)
    return samples, [predictions[sample.name] for sample in samples]
