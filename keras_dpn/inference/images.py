"""Check and resize images as arrays."""

import numpy as np

from keras_dpn.limits import SizeError, size_error


def check_image(image: np.ndarray, max_pixels: int | None = None, channels: int = 3) -> np.ndarray:
    """Return the image as an array.

    Args:
        image: (H, W, channels).
        max_pixels: limit of H W; None for none.
        channels: 3 for RGB.

    Raises:
        ValueError: unless it is one image of uint8 or finite floats, of at most `max_pixels`.
    """
    image = np.asarray(image)
    kind = "RGB image" if channels == 3 else "image"
    expected = (
        f"Invalid value for argument `image`: expected one {kind} (height, width, {channels})"
    )
    if image.ndim != 3 or image.shape[-1] != channels:
        hint = " Pass one image at a time, channels last." if image.ndim in (3, 4) else ""
        raise ValueError(f"{expected}, received shape {image.shape}.{hint}")
    if 0 in image.shape:
        raise ValueError(f"{expected} with at least one pixel, received shape {image.shape}.")
    height, width = image.shape[:2]
    if max_pixels is not None and (message := size_error(height, width, max_pixels)):
        raise SizeError(f"Invalid value for argument `image`: {message}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"{expected} of uint8 or floats from 0 to 255, received {image.dtype}.")
    if not np.isfinite(image).all():
        raise ValueError(f"{expected} of finite numbers, received NaN or infinity.")
    return image


def size_of_shorter_side(
    height: int, width: int, shorter_side: int, max_pixels: int
) -> tuple[int, int]:
    """Return the height and width of an image that is resized to a shorter side.

    Raises:
        SizeError: if it has more than `max_pixels` then.
    """
    factor = shorter_side / min(height, width)
    height, width = (max(1, round(factor * n)) for n in (height, width))
    if message := size_error(height, width, max_pixels):
        raise SizeError(
            "Invalid value for argument `source`: resized to a shorter side of "
            f"{shorter_side}, {message}"
        )
    return height, width


def resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, C) bilinearly, antialiased if it gets smaller: float32.

    Centres of pixels are at half coordinates.
    """
    if array.shape[:2] == (height, width):
        return array
    from PIL import Image  # here, for programs that resize nothing

    resized = [
        Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR)
        for channel in np.moveaxis(array.astype("float32", copy=False), -1, 0)
    ]
    return np.stack([np.asarray(channel) for channel in resized], axis=-1)
