"""Check and resize images as arrays."""

import warnings

import numpy as np

from keras_dpn.limits import MAX_ENLARGED, SizeError, size_error

# Images that were divided by 255, or by the standard deviation, have no larger values.
_NORMALIZED = 3.0


def check_image(image: np.ndarray, max_pixels: int | None = None, channels: int = 3) -> np.ndarray:
    """Return the image as an array.

    Args:
        image: (H, W, channels).
        max_pixels: limit of H W; None for none.
        channels: 3 for RGB.

    Raises:
        ValueError: unless it is one image of uint8 or finite floats, of at most `max_pixels`.

    Warns:
        UserWarning: if an RGB image seems to be normalised, such as to 0-1.
    """
    image = np.asarray(image)
    kind = "RGB image" if channels == 3 else "image"
    expected = (
        f"Invalid value for argument `image`: expected one {kind} (height, width, {channels})"
    )
    if image.ndim != 3 or image.shape[-1] != channels:
        hint = " Pass one image at a time, channels last." if image.ndim in (3, 4) else ""
        if image.ndim == 2 and channels == 3:
            hint = " Pass a grey one as np.stack([image] * 3, axis=-1)."
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
    if channels == 3 and _is_normalized(image):
        warnings.warn(
            f"The image has fractions from {image.min():.3g} to {image.max():.3g} where numbers "
            "from 0 to 255 are expected: its labels will be wrong. Pass 255 * image for one from 0 "
            "to 1.",
            stacklevel=2,
        )
    return image


def _is_normalized(image: np.ndarray) -> bool:
    if image.dtype == np.uint8 or np.abs(image).max() > _NORMALIZED:
        return False
    return bool((image != np.rint(image)).any())


def size_of_shorter_side(
    height: int, width: int, shorter_side: int, max_pixels: int
) -> tuple[int, int]:
    """Return the height and width of an image that is resized to a shorter side.

    Raises:
        SizeError: if it has more than `max_pixels` then; or, enlarged, more than `MAX_ENLARGED`
            allows, as narrow ones have.
    """
    factor = shorter_side / min(height, width)
    new_height, new_width = (max(1, round(factor * n)) for n in (height, width))
    if message := size_error(new_height, new_width, max_pixels):
        raise SizeError(
            "Invalid value for argument `source`: resized to a shorter side of "
            f"{shorter_side}, {message}"
        )
    if factor > 1 and new_height * new_width > max(MAX_ENLARGED, 8 * height * width):
        raise SizeError(
            f"Invalid value for argument `source`: {width} x {height} pixels are too narrow to be "
            f"enlarged to a shorter side of {shorter_side}, {new_width} x {new_height} pixels. "
            "`size=None` keeps images as they are."
        )
    return new_height, new_width


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
