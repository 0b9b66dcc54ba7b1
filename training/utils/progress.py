"""A progress bar on stderr where that is a terminal; nothing in log files."""

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")


class ProgressBar:
    """How far some work is; given by `progress_bar`."""

    def __init__(self, bar: Progress, description: str, total: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task(description, total=total)

    def advance(self, count: int = 1) -> None:
        """Count more of the work as done."""
        self._bar.advance(self._task, count)

    def update(self, completed: int) -> None:
        """Set how much of the work is done, counted from the start."""
        self._bar.update(self._task, completed=completed)


@contextmanager
def progress_bar(
    description: str, total: int | None = None, unit: str | None = None
) -> Iterator[ProgressBar]:
    """Show a progress bar while the block runs.

    Args:
        description: text in front of the bar.
        total: how much there is to do; None if that is unknown.
        unit: of what is counted, in the plural, such as "frames"; the bar then shows its rate.

    Yields:
        The bar, to be told of progress.

    Example:
    >>> with progress_bar("searching", total=2) as bar:
    ...     bar.advance()
    ...     bar.advance()
    """
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
    columns += [_Rate(unit)] if unit else []
    columns += [TimeRemainingColumn()]
    is_hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as bar:
        yield ProgressBar(bar, description, total)


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and show how many of them have passed.

    Args:
        items: anything iterable.
        description: text in front of the bar.
        total: how many items there are; by default their length, if they have one.

    Example:
    >>> list(progress("abc", "letters"))
    ['a', 'b', 'c']
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(description, total) as bar:
        for item in items:
            yield item
            bar.advance()


class _Rate(ProgressColumn):
    """How many units pass per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} {self._unit}/s")
