"""Reading pictures and label maps from files, right whatever their mode, or with a clear error."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from training.data.dataset import Classes

# Colours that mean "ignored" in a colour label map, unless a class has one of them: black and
# white, and the border of PASCAL VOC.
IGNORE_COLORS = ((0, 0, 0), (255, 255, 255), (224, 224, 192))

# Pillow stretches grey PNGs of 2 and 4 bits a pixel to 0..255; indices must not be stretched.
_STRETCH = {"L;2": 85, "L;4": 17}


class ImageError(ValueError):
    """A picture or label map that can't be read, or doesn't fit; the message names the file."""


class LabelError(ImageError):
    """A label map with values or colours that belong to no class."""


def read_image(path: Path) -> np.ndarray:
    """Reads a picture as a camera meant it: 8-bit RGB, upright.

    The EXIF rotation is applied; 16-bit channels are scaled to 8 bits; grey, palette, CMYK and
    other colour spaces are converted; transparent pixels are composited on black, since what
    lies under them is arbitrary. Of an animation it is the first frame.

    Args:
        path: a file in any format that Pillow reads: JPEG, PNG, BMP, GIF, TIFF, WebP...

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: where the file is missing, truncated, empty, no picture, or of a mode without
            a defined range (float).
    """
    image, _ = _open(path)
    if image.mode.startswith("I"):
        grey = _narrow(np.asarray(image), path)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode == "F":
        raise ImageError(
            f"{path}: a picture of floats has no defined range; save it with 8 or 16 bits."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.asarray(image.convert("RGB")).copy()


def read_label(path: Path, classes: Classes) -> np.ndarray:
    """Reads a label map: indices (grey or palette, 8 or 16 bits) or the classes' colours.

    Args:
        path: a lossless file. Grey and palette files hold class indices or the ignore label;
            a palette's colours play no role. Files in RGB hold colours, matched exactly with
            `classes.colors`; `IGNORE_COLORS` that no class has are the ignore label.
        classes: the classes to expect.

    Returns:
        uint8 (H, W): 0..L-1 or `classes.ignore`.

    Raises:
        LabelError: on a value or colour of no class, with one position of it.
        ImageError: where the file is missing, truncated, empty, lossy, or of another mode.
    """
    image, stretch = _open(path)
    if image.format == "JPEG":
        raise ImageError(f"{path}: JPEG changes labels; save label maps as PNG.")
    if image.mode in ("RGB", "RGBA"):
        return _match_colors(np.asarray(image)[..., :3], path, classes)
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise ImageError(
            f"{path}: expected a label map in grey, palette or RGB, received mode {image.mode}."
        )
    return _check_indices(np.asarray(image).astype("int64") // stretch, path, classes)


def read_pair(image: Path, label: Path, classes: Classes) -> tuple[np.ndarray, np.ndarray]:
    """Reads a picture and its label map, and sees that their sizes agree.

    Returns:
        uint8 (H, W, 3) and uint8 (H, W), as `read_image` and `read_label`.

    Raises:
        ImageError: as they do, and where the sizes differ.
    """
    pixels, labels = read_image(image), read_label(label, classes)
    if pixels.shape[:2] != labels.shape:
        raise ImageError(size_message(image, pixels, label, labels))
    return pixels, labels


def size_message(image: Path, pixels: np.ndarray, label: Path, labels: np.ndarray) -> str:
    """The words for a picture and a label map of different sizes."""
    (h, w), (label_h, label_w) = pixels.shape[:2], labels.shape
    return f"{label}: {label_w}x{label_h} pixels, but {image} has {w}x{h}; they must agree."


def _open(path: Path) -> tuple[Image.Image, int]:
    """The loaded, upright image and the factor by which Pillow stretched its indices."""
    try:
        with Image.open(path) as image:
            stretch = _STRETCH.get(_raw_mode(image), 1)
            image.load()
            upright = ImageOps.exif_transpose(image)
            upright.format = image.format
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file.") from None
    except Exception as error:  # Pillow's decoders raise all kinds on broken files
        raise ImageError(f"{path}: can't be read as an image ({error}).") from error
    if 0 in upright.size:
        raise ImageError(f"{path}: an image of {upright.width}x{upright.height} pixels is empty.")
    return upright, stretch


def _raw_mode(image: Image.Image) -> str:
    args = image.tile[0][3] if image.tile else ""
    return args if isinstance(args, str) else ""


def _narrow(values: np.ndarray, path: Path) -> np.ndarray:
    """16-bit grey to 8 bits, 65535 to 255."""
    values = values.astype("int64")
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{path}: expected grey values 0..65535, received {values.min()}..{values.max()}; "
            "save it with 8 or 16 bits."
        )
    return ((values + 128) // 257).astype("uint8")


def _check_indices(values: np.ndarray, path: Path, classes: Classes) -> np.ndarray:
    wrong = ((values < 0) | (values >= classes.num_classes)) & (values != classes.ignore)
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise LabelError(
            f"{path}: value {values[y, x]} at x={x}, y={y}; expected "
            f"0..{classes.num_classes - 1} or {classes.ignore} (ignored). "
            f"All such values: {_shortened(np.unique(values[wrong]).tolist())}."
        )
    return values.astype("uint8")


def _match_colors(pixels: np.ndarray, path: Path, classes: Classes) -> np.ndarray:
    labels_of = {color: classes.ignore for color in IGNORE_COLORS}
    labels_of |= {color: label for label, color in enumerate(classes.colors)}
    packed = pixels.astype("int64") @ np.array([1 << 16, 1 << 8, 1])  # (H, W)
    colors, inverse = np.unique(packed, return_inverse=True)
    tuples = [(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in colors]
    unknown = [color for color in tuples if color not in labels_of]
    if unknown:
        y, x = np.argwhere(inverse.reshape(packed.shape) == tuples.index(unknown[0]))[0]
        raise LabelError(
            f"{path}: colour {unknown[0]} at x={x}, y={y} belongs to no class. "
            f"All such colours: {_shortened(unknown)}."
        )
    table = np.array([labels_of[color] for color in tuples], "uint8")
    return table[inverse].reshape(packed.shape)


def _shortened(values: list) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values)} in all)"
