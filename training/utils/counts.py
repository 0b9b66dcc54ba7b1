"""Numbers of things in what is printed."""


def counted(number: int, noun: str) -> str:
    """Return "1 image", "2 images": the noun's plural ends in "s"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
