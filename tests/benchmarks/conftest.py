"""The small datasets and the finished run of the tests of training."""

from tests.training.conftest import finished_run, small_scenes

__all__ = ["finished_run", "small_scenes"]
