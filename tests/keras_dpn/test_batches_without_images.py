"""Every function of a batch returns a batch without an image for one, or says what it expects."""

import keras
import numpy as np
import pytest

from keras_dpn import layers, losses, models, ops


def zeros(*shape, dtype="float32"):
    return keras.ops.zeros(shape, dtype)


EDGES = np.array([[0, 1], [1, 2]], "int32")
MAP, IMAGE = (0, 5, 6, 2), (0, 5, 6, 3)
CALLS = {
    "block_min_pool": (lambda: ops.block_min_pool(zeros(*MAP), 2), (0, 5, 6, 1)),
    "box_sum": (lambda: ops.box_sum(zeros(*MAP), 3, (1, 2)), MAP),
    "box_second_moment": (lambda: ops.box_second_moment(zeros(*MAP), 3, (1, 2)), MAP),
    "edge_mean_field": (
        lambda: ops.edge_mean_field(zeros(0, 3, 2), EDGES, zeros(0, 2, 2, 2), 2),
        (0, 3, 2),
    ),
    "global_context": (lambda: ops.global_context(zeros(*MAP), grid=2), MAP),
    "l2_norm_scale": (lambda: ops.l2_norm_scale(zeros(*MAP), zeros(2)), MAP),
    "local_conv": (lambda: ops.local_conv(zeros(*MAP), zeros(*IMAGE), 3), MAP),
    "gaussian": (lambda: ops.local_conv(zeros(*MAP), zeros(*IMAGE), 3, kernel="gaussian"), MAP),
    "permutohedral": (
        lambda: ops.permutohedral_filter(zeros(0, 30, 2), zeros(0, 30, 3)),
        (0, 30, 2),
    ),
    "resize": (lambda: ops.resize(zeros(*MAP), (7, 8)), (0, 7, 8, 2)),
    "warp": (lambda: ops.warp(zeros(*IMAGE), zeros(*MAP)), IMAGE),
    "BlockMinPool": (lambda: layers.BlockMinPool(2)(zeros(*MAP)), (0, 5, 6, 1)),
    "LocalConv1D": (lambda: layers.LocalConv1D(3)((zeros(0, 5, 2), zeros(0, 5, 3))), (0, 5, 2)),
    "LocalConv2D": (lambda: layers.LocalConv2D(3)((zeros(*MAP), zeros(*IMAGE))), MAP),
    "learned": (
        lambda: layers.LocalConv2D(3, kernel="learned")((zeros(*MAP), zeros(*IMAGE))),
        MAP,
    ),
    "LocalConv3D": (
        lambda: layers.LocalConv3D(3)((zeros(0, 3, 5, 6, 2), zeros(0, 3, 5, 6, 3))),
        (0, 3, 5, 6, 2),
    ),
    "L2NormScale": (lambda: layers.L2NormScale()(zeros(*MAP)), MAP),
    "pruned MeanFieldCRF": (
        lambda: layers.MeanFieldCRF(1, prune_below=0.1)((zeros(*MAP), zeros(*IMAGE))),
        MAP,
    ),
    "MeanFieldCRF": (lambda: layers.MeanFieldCRF(1)((zeros(*MAP), zeros(*IMAGE))), MAP),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_result_has_no_image(name):
    call, shape = CALLS[name]
    assert tuple(call().shape) == shape


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("global_context", [False, True])
def test_a_network_returns_no_logits(global_context):
    model = models.DPN(
        2,
        width=0.03,
        backbone={"fc6_kernel": 1, "fc_width": 8},
        local_conv={"window": 3},
        global_context=global_context,  # as ParseNet's late fusion
    )
    assert model(np.zeros((0, 32, 32, 3), "uint8")).shape == (0, 32, 32, 2)


@pytest.mark.parametrize(
    "loss",
    ["SegmentationCrossEntropy", "SegmentationDice", "SegmentationFocal", "LovaszSoftmax"],
)
def test_losses_are_zero(loss):
    value = getattr(losses, loss)()(zeros(0, 5, 6, dtype="int32"), zeros(*IMAGE))
    assert float(value) == 0.0
