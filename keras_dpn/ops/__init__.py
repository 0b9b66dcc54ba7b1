"""Stateless functions on tensors, written with keras.ops: the mathematics of the layers."""

from keras_dpn.ops.block_min_pool import block_min_pool
from keras_dpn.ops.box_filter import box_second_moment, box_sum
from keras_dpn.ops.cell_means import cell_means
from keras_dpn.ops.crf_likelihood import piecewise_loss, pseudo_likelihood_loss
from keras_dpn.ops.edge_field import (
    edge_energy,
    edge_free_energy,
    edge_mean_field,
    edge_messages,
)
from keras_dpn.ops.global_context import global_context
from keras_dpn.ops.l2_norm_scale import l2_norm_scale
from keras_dpn.ops.label_pruning import pruning_error_bound
from keras_dpn.ops.local_conv import linked_local_conv, local_conv
from keras_dpn.ops.mean_field import mean_field_update, parsing_field_logits
from keras_dpn.ops.node_links import link_frames
from keras_dpn.ops.permutohedral import permutohedral_filter
from keras_dpn.ops.range_boxes import box_edges
from keras_dpn.ops.resize import resize
from keras_dpn.ops.two_labels import one_class, two_labels
from keras_dpn.ops.warp import flow_validity, warp

__all__ = [
    "block_min_pool",
    "box_edges",
    "box_second_moment",
    "box_sum",
    "cell_means",
    "edge_energy",
    "edge_free_energy",
    "edge_mean_field",
    "edge_messages",
    "flow_validity",
    "global_context",
    "l2_norm_scale",
    "link_frames",
    "linked_local_conv",
    "local_conv",
    "mean_field_update",
    "one_class",
    "parsing_field_logits",
    "permutohedral_filter",
    "piecewise_loss",
    "pruning_error_bound",
    "pseudo_likelihood_loss",
    "resize",
    "two_labels",
    "warp",
]
