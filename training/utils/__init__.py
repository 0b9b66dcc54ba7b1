"""Files, threads and progress bars."""
