"""Label maps of images and videos, as files."""
