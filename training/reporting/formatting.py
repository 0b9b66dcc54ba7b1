"""Numbers as a report prints them."""

_UNKNOWN = "–"


def percent(value: float | None) -> str:
    """Format 0..1 as a percentage with one decimal."""
    return _UNKNOWN if value is None else f"{100 * value:.1f}"


def points(value: float | None, before: float | None) -> str:
    """Format the change of a score in percentage points, with its sign."""
    if value is None or before is None:
        return _UNKNOWN
    return minus(f"{100 * (value - before):+.1f}")


def signed_points(value: float) -> str:
    """Format a difference of two scores in percentage points, with its sign and two decimals."""
    return minus(f"{100 * value:+.2f}")


def minus(number: str) -> str:
    """Return a number with a true minus sign."""
    return number.replace("-", "−")


def duration(seconds: float) -> str:
    """Format a duration in the unit that suits it.

    Example:
    >>> [duration(seconds) for seconds in (89, 150, 7200)]
    ['89 s', '2 min', '2.0 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(value: float) -> str:
    """Format a whole number with separators between thousands."""
    return f"{value:,}"
