"""Images with an alpha channel on black. Needs only NumPy."""

import numpy as np


def composite_on_black(rgba: np.ndarray) -> np.ndarray:
    """Return the colours of an image with alpha channel on black.

    Args:
        rgba: uint8 (H, W, 4), alpha not premultiplied.

    Returns:
        uint8 (H, W, 3).
    """
    rgba = rgba.astype("uint16")
    return ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype("uint8")
