"""The demo page."""

DEFAULT = "dpn_camvid"
MAX_PIXELS = 1024 * 1024
