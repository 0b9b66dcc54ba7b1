"""Image and video files. Needs Pillow, videos OpenCV."""
