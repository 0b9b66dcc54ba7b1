"""Scores of label maps, all from one confusion matrix."""

from keras_dpn.metrics.bootstrap import paired_bootstrap
from keras_dpn.metrics.confusion import (
    confusion_matrix,
    frequency_weighted_iou,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
    scores,
)
from keras_dpn.metrics.segmentation_scores import SegmentationScores
from keras_dpn.metrics.temporal import temporal_confusion
from keras_dpn.metrics.trimap import trimap_confusions, trimap_distance

__all__ = [
    "SegmentationScores",
    "confusion_matrix",
    "frequency_weighted_iou",
    "iou_per_class",
    "mean_accuracy",
    "mean_iou",
    "paired_bootstrap",
    "pixel_accuracy",
    "scores",
    "temporal_confusion",
    "trimap_confusions",
    "trimap_distance",
]
