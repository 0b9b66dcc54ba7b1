"""Layers: weights and configuration around keras_dpn.ops."""

from keras_dpn.layers.block_min_pool import BlockMinPool
from keras_dpn.layers.deep_parsing_field import DeepParsingField
from keras_dpn.layers.dropout import Dropout
from keras_dpn.layers.dynamic_node_link import DynamicNodeLink
from keras_dpn.layers.edge_mean_field import EdgeMeanField
from keras_dpn.layers.global_context import GlobalContext
from keras_dpn.layers.l2_norm_scale import L2NormScale
from keras_dpn.layers.local_conv import LocalConv1D, LocalConv2D, LocalConv3D
from keras_dpn.layers.mean_field_crf import MeanFieldCRF
from keras_dpn.layers.pairwise_potential import PairwisePotential
from keras_dpn.layers.range_box_graph import RangeBoxGraph
from keras_dpn.layers.resize import Resize

__all__ = [
    "BlockMinPool",
    "DeepParsingField",
    "Dropout",
    "DynamicNodeLink",
    "EdgeMeanField",
    "GlobalContext",
    "L2NormScale",
    "LocalConv1D",
    "LocalConv2D",
    "LocalConv3D",
    "MeanFieldCRF",
    "PairwisePotential",
    "RangeBoxGraph",
    "Resize",
]
