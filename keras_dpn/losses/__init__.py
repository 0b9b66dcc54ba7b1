"""Losses of logits on label maps: per pixel, of the overlap, and sums of them.

All but `WeightedSum` take ignore labels and class weights, and reduce over the counted pixels of
the whole batch.
"""

from keras_dpn.losses.lovasz_softmax import LovaszSoftmax
from keras_dpn.losses.segmentation_cross_entropy import SegmentationCrossEntropy
from keras_dpn.losses.segmentation_dice import SegmentationDice
from keras_dpn.losses.segmentation_focal import SegmentationFocal
from keras_dpn.losses.segmentation_jaccard import SegmentationJaccard
from keras_dpn.losses.segmentation_tversky import SegmentationTversky
from keras_dpn.losses.weighted_sum import WeightedSum

__all__ = [
    "LovaszSoftmax",
    "SegmentationCrossEntropy",
    "SegmentationDice",
    "SegmentationFocal",
    "SegmentationJaccard",
    "SegmentationTversky",
    "WeightedSum",
]
