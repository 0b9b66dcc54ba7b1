"""Metrics of label maps: confusion matrices, objects, trimaps, calibration, consistency."""

from keras_dpn.metrics.bootstrap import paired_bootstrap
from keras_dpn.metrics.calibration import calibration, calibration_counts
from keras_dpn.metrics.confusion import (
    confusion_matrix,
    frequency_weighted_iou,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
    scores,
)
from keras_dpn.metrics.objects import object_counts, object_scores
from keras_dpn.metrics.segmentation_scores import SegmentationScores
from keras_dpn.metrics.temporal import temporal_confusion
from keras_dpn.metrics.trimap import trimap_confusions, trimap_distance

__all__ = [
    "SegmentationScores",
    "calibration",
    "calibration_counts",
    "confusion_matrix",
    "frequency_weighted_iou",
    "iou_per_class",
    "mean_accuracy",
    "mean_iou",
    "object_counts",
    "object_scores",
    "paired_bootstrap",
    "pixel_accuracy",
    "scores",
    "temporal_confusion",
    "trimap_confusions",
    "trimap_distance",
]
