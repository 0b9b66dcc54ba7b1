"""The demo page."""

DEFAULT = "dpn_scenes"
MAX_PIXELS = 1024 * 1024
