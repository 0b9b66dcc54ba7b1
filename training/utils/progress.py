"""A progress bar on stderr, where that is a terminal; nothing in log files."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def progress(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yields the items and shows how many of `total` have passed."""
    console = Console(stderr=True)
    quiet = not console.is_terminal
    yield from track(
        items, description, total=total, console=console, transient=True, disable=quiet
    )
