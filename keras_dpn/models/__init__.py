"""Networks as functional graphs, one file a paper."""

from keras_dpn.models.dpn import DPN
from keras_dpn.models.vgg16 import Preprocess, vgg16_trunk

__all__ = ["DPN", "Preprocess", "vgg16_trunk"]
