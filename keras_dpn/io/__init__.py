"""Image and video files. Needs Pillow, videos PyAV."""

from typing import Any

from keras_dpn.deprecation import warn_renamed

# In this module, so that telling videos from images needs neither. Files with other suffixes are
# told by their content, see `formats`.
VIDEO_SUFFIXES = {
    *(".3gp", ".avi", ".dv", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    # Without a container.
    *(".264", ".265", ".h264", ".h265", ".hevc", ".ivf", ".mjpeg", ".mjpg", ".obu", ".y4m"),
}
IMAGE_SUFFIXES = {
    *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
}


def __getattr__(name: str) -> Any:
    if name == "PICTURE_SUFFIXES":
        warn_renamed("keras_dpn.io.PICTURE_SUFFIXES", "keras_dpn.io.IMAGE_SUFFIXES")
        return IMAGE_SUFFIXES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
