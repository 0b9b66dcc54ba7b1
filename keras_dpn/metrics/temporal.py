"""Temporal consistency: whether the label maps of a video agree along its optical flow."""

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_dpn import ops
from keras_dpn.metrics.confusion import check_range, confusion_matrix


def temporal_confusion(
    labels: ArrayLike,
    next_labels: ArrayLike,
    flow: ArrayLike,
    backward_flow: ArrayLike,
    num_classes: int,
    threshold: float = 1.0,
) -> np.ndarray:
    """Return the confusion matrix of a frame's prediction and the next frame's, warped onto it.

    Temporal consistency is the mIoU of these counts, added up over all pairs of successive frames
    of a video (`metrics.scores`): 1 if every label moves with the optical flow, less if labels
    flicker. It is Liu et al.'s measure with two differences: the next frame is warped, not the
    previous one, and only pixels with a valid flow count (`ops.flow_validity`): pixels that leave
    the image or are occluded in the next frame don't.

    It needs no ground truth and doesn't measure accuracy: a constant prediction is perfectly
    consistent. It depends on the flow and on the frame rate; compare only values of the same video
    with the same flow.

    Args:
        labels: integers `(H, W)`, 0 ... num_classes - 1, the prediction for a frame.
        next_labels: integers `(H, W)`, the prediction for the next frame.
        flow: floats `(H, W, 2)`, (dx, dy) in pixels, from the frame to the next one.
        backward_flow: floats `(H, W, 2)`, from the next frame to this one.
        num_classes: L.
        threshold: as in `ops.flow_validity`, in pixels.

    Returns:
        int64 array `(L, L)`, `[label, warped label of the next frame]`.

    Raises:
        ValueError: if sizes differ, a label is outside the classes, and as `ops.flow_validity`.

    References:
    - Liu et al., Efficient semantic video segmentation with per-frame inference, section 4
      (https://arxiv.org/abs/2002.11433)
    - Sundaram, Brox and Keutzer, Dense point trajectories by GPU-accelerated large displacement
      optical flow (2010), for the validity

    Example:

    >>> flow = np.full((1, 3, 2), (1.0, 0.0), "float32")  # one pixel to the right
    >>> temporal_confusion([[0, 1, 1]], [[1, 0, 0]], flow, -flow, num_classes=2)
    array([[1, 0],
           [1, 0]])
    """
    labels, next_labels = np.asarray(labels), np.asarray(next_labels)
    if labels.ndim != 2 or labels.shape != next_labels.shape:
        raise ValueError(
            "Invalid values for arguments `labels` and `next_labels`: expected two label maps "
            f"(height, width) of one size, received {labels.shape} and {next_labels.shape}."
        )
    next_labels = check_range("next_labels", next_labels, num_classes)
    flow, backward_flow = np.asarray(flow), np.asarray(backward_flow)
    valid = ops.flow_validity(flow, backward_flow, threshold)
    moved = ops.warp(next_labels.astype("int32")[..., None], flow, interpolation="nearest")
    valid, moved = (keras.ops.convert_to_numpy(x)[..., 0] for x in (valid, moved))
    counted = valid > 0
    return confusion_matrix(labels[counted], moved[counted], num_classes, ignore_label=None)
