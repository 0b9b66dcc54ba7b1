"""Networks as functional graphs, one file per paper."""

from keras_dpn.models.backbones import ModelBackbone
from keras_dpn.models.deeplab import DeepLab, field_of_view
from keras_dpn.models.dpn import DPN
from keras_dpn.models.fcn import FCN
from keras_dpn.models.heads import Head, ModelTraits
from keras_dpn.models.parsenet import ParseNet
from keras_dpn.models.piecewise_crf import PiecewiseCRF, graph_size
from keras_dpn.models.preset import from_preset
from keras_dpn.models.pretrained import PretrainedReport, load_pretrained
from keras_dpn.models.scales import adapt_scales
from keras_dpn.models.spatial_temporal_dpn import SpatialTemporalDPN
from keras_dpn.models.staged import traits
from keras_dpn.models.vgg16 import Preprocess, vgg16_backbone, vgg16_trunk

__all__ = [
    "DPN",
    "FCN",
    "DeepLab",
    "Head",
    "ModelBackbone",
    "ModelTraits",
    "ParseNet",
    "PiecewiseCRF",
    "Preprocess",
    "PretrainedReport",
    "SpatialTemporalDPN",
    "adapt_scales",
    "field_of_view",
    "from_preset",
    "graph_size",
    "load_pretrained",
    "traits",
    "vgg16_backbone",
    "vgg16_trunk",
]
