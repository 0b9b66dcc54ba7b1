"""The context of a report's sections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import keras
from markupsafe import Markup

from ..data.dataset import Dataset
from ..data.sampling import Sample
from .runs import Run


@dataclass(frozen=True)
class ReportContext:
    """A run, its network and samples.

    Args:
        run: the finished run.
        dataset: the dataset it was trained on.
        model: its trained network.
        split: where the samples are from.
        samples: at least one, even if none is shown: some sections apply the network to them.
        num_images: how many of the samples to show.
        titles: titles of the samples by name, if they were chosen by their scores.
    """

    run: Run
    dataset: Dataset
    model: keras.Model
    split: str
    samples: Sequence[Sample]
    num_images: int
    titles: Mapping[str, str] | None = None

    @property
    def shown(self) -> Sequence[Sample]:
        """The samples to show."""
        return self.samples[: self.num_images]


class Section(Protocol):
    """A part of a run's report."""

    def applies(self, context: ReportContext) -> bool:
        """Return whether there is something to show."""

    def render(self, context: ReportContext) -> Markup:
        """Return the section's HTML."""


def sample_title(sample: Sample, titles: Mapping[str, str] | None) -> str:
    """Return the title of a sample: why it was chosen, or its name."""
    return titles[sample.name] if titles else sample.name


def render_sections(sections: Sequence[Section], context: ReportContext) -> list[Markup]:
    """Render the sections that have something to show."""
    return [section.render(context) for section in sections if section.applies(context)]
