"""The console on which commands print their tables."""

from rich.console import Console


def console() -> Console:
    """Return a console that takes names as text: a class may be called "[bold]"."""
    return Console(markup=False)
