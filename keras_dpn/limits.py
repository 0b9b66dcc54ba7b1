"""Limits of images: what a file may say of its size before it takes memory."""

# Of an image; as 8-bit RGB they take 300 MB.
MAX_PIXELS = 100_000_000
# Of an image that is enlarged to the network's size, or eight times its own pixels if that is
# more: a row of 500 pixels would become one of 360 x 180,000.
MAX_ENLARGED = 2048 * 2048
# Networks pad narrow images: one of a single row takes as much memory as one of about 64 rows.
MIN_SIDE = 64
# Images of at most this many padded pixels are measured by their own pixels.
SMALL = 2**16


class SizeError(ValueError):
    """An image of too many pixels, as it is or as a network would see it."""


def padded_pixels(height: int, width: int) -> int:
    """Return the pixels of an image as its memory in a network grows: sides below 64 count as 64.

    Example:

    >>> padded_pixels(1, 1000)
    64000
    """
    return max(height, MIN_SIDE) * max(width, MIN_SIDE)


def fits(height: int, width: int, max_pixels: int) -> bool:
    """Return whether an image has at most N pixels, also with its sides as in `padded_pixels`.

    Images of up to 65,536 padded pixels are measured by their own pixels.

    Example:

    >>> fits(10, 10, 100), fits(10, 11, 100), fits(1, 100_000, 4_000_000)
    (True, False, False)
    """
    padded = padded_pixels(height, width)
    return height * width <= max_pixels and padded <= max(max_pixels, SMALL)


def size_error(height: int, width: int, max_pixels: int) -> str | None:
    """Return why an image doesn't fit, or None if it does."""
    if fits(height, width, max_pixels):
        return None
    narrow = (
        f" (sides below {MIN_SIDE} count as {MIN_SIDE})" if height * width <= max_pixels else ""
    )
    return (
        f"{width} x {height} pixels are too many; at most {max_pixels / 1e6:g} million are "
        f"allowed{narrow}, see `max_pixels`."
    )
