"""Predict in this process; a cluster's workers do so with what they are sent."""

from collections.abc import Callable

from keras_dpn.segmenter import Segmenter

from ..rundir.outputs import Outputs
from .images import predict_images
from .results import FileResult
from .settings import PredictionJob
from .sources import Sources
from .video import predict_videos


def predict_here(
    job: PredictionJob,
    segmenter: Segmenter,
    sources: Sources,
    files: Outputs,
    on_result: Callable[[FileResult], None],
) -> None:
    """Predict images, then videos, and print a line about each video.

    Args:
        job: what is done with each input.
        segmenter: the job's networks.
        sources: the images and videos.
        files: writes and records the results.
        on_result: called with what became of each input, in order.

    Raises:
        OSError: if a result can't be written.
    """
    predict_images(
        segmenter, sources.images, job.out, job.image_outputs, files, on_result=on_result
    )
    predict_videos(
        segmenter,
        sources.videos,
        job.out,
        overlay=job.overlay,
        save_frames=job.save_frames,
        files=files,
        on_result=on_result,
    )
