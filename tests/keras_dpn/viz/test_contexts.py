import keras
import numpy as np
import pytest

from keras_dpn import viz
from keras_dpn.viz.contexts import middle_of

NAMES = ("body", "tyre", "a class with a rather long name")


def kernel_of(maps, mixtures=1):
    """The b13 kernel (n, n, v, u*K) whose first mixture has penalties (u, v, n, n), 0 elsewhere."""
    labels, _, n, _ = maps.shape
    kernel = np.zeros((n, n, labels, labels, mixtures))
    kernel[..., 0] = maps.transpose(2, 3, 1, 0)
    return kernel.reshape(n, n, labels, labels * mixtures)


def test_compatibility_sums_windows_and_takes_the_smallest_mixture():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    matrix = viz.compatibility_matrix(kernel, mixtures=2)
    for u in range(2):
        for v in range(2):
            sums = [kernel[:, :, v, 2 * u + k].sum() for k in range(2)]
            assert matrix[u, v] == pytest.approx(min(sums))


def test_compatibility_is_what_the_layers_answer():
    """b13 on a window full of label v, then b14's minimum, at the middle of the window."""
    kernel = np.random.default_rng(1).normal(size=(5, 5, 3, 6))
    for v in range(3):
        seen = np.zeros((5, 5, 3))
        seen[..., v] = 1
        b13 = np.einsum("yxv,yxvc->c", seen, kernel)
        b14 = b13.reshape(3, 2).min(axis=1)
        np.testing.assert_allclose(viz.compatibility_matrix(kernel, 2)[:, v], b14)


def test_context_maps_find_a_planted_relation_whatever_all_labels_share():
    maps = np.zeros((3, 3, 5, 5))
    maps[1, 0, :2] = -3.0  # label 0 above makes label 1 likely
    shared = np.random.default_rng(2).normal(size=(1, 3, 5, 5))
    found = viz.context_maps(kernel_of(maps + shared), mixtures=1)
    np.testing.assert_allclose(found[1, 0, :2], -2.0)
    np.testing.assert_allclose(found[[0, 2], 0, :2], 1.0)
    np.testing.assert_allclose(found[:, 0, 2:], 0.0, atol=1e-12)
    np.testing.assert_allclose(found[:, 1:], 0.0, atol=1e-12)
    assert viz.strongest_contexts(found, 1) == [(1, 0)]


def test_context_maps_see_every_mixture():
    kernel = np.zeros((3, 3, 2, 2, 2))
    kernel[0, 1, 1, 0, 0] = -4.0  # mixture 0: above
    kernel[2, 1, 1, 0, 1] = -4.0  # mixture 1: below
    found = viz.context_maps(kernel.reshape(3, 3, 2, 4), mixtures=2)
    assert found[0, 1, 0, 1] == found[0, 1, 2, 1] == -2.0
    assert found[0, 1, 1, 1] == 0.0


def test_label_affinity_is_what_frequent_labels_do_not_explain():
    rng = np.random.default_rng(4)
    planted = np.zeros((3, 3))
    planted[1, 2] = 6.0  # label 2 is likely beside label 1
    frequent = rng.normal(size=(3, 1)) + rng.normal(size=(1, 3))
    noise = rng.normal(size=(2, 4, 3, 3))
    noise -= noise.mean(axis=(0, 1))
    found = viz.label_affinity(planted + frequent + noise)
    expected = [[2 / 3, 2 / 3, -4 / 3], [-4 / 3, -4 / 3, 8 / 3], [2 / 3, 2 / 3, -4 / 3]]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("shape", [(4,), (2, 4)])
def test_label_affinity_is_of_the_edges_that_exist(shape):
    logits = np.random.default_rng(5).normal(size=(2, 4, 3, 3))
    exist = np.random.default_rng(6).random(shape) > 0.5
    kept = logits[np.broadcast_to(exist, (2, 4))]
    np.testing.assert_allclose(viz.label_affinity(logits, exist), viz.label_affinity(kept))


def test_label_affinity_refuses():
    with pytest.raises(ValueError, match=r"`pairwise`: .*received shape \(4, 3, 2\)"):
        viz.label_affinity(np.zeros((4, 3, 2)))
    with pytest.raises(ValueError, match="`exist`: expected at least one edge"):
        viz.label_affinity(np.zeros((4, 3, 3)), np.zeros(4, bool))


def test_strongest_contexts_limits_each_label_and_leaves_out_itself():
    maps = np.zeros((4, 4, 3, 3))
    maps[0] = -9.0
    maps[2, 3] = -1.0
    assert viz.strongest_contexts(maps, 3) == [(0, 1), (0, 2), (2, 3)]


def test_the_pixel_itself_is_no_context():
    maps = np.zeros((2, 2, 3, 3))
    maps[0, 1, 1, 1] = -9.0  # the middle
    maps[1, 0, 0, :2] = -1.0
    assert viz.strongest_contexts(maps, 1) == [(1, 0)]
    shown = viz.plot_contexts(maps, NAMES[:2], pairs=[(0, 1)]).axes[0].images[0]
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown.get_array())).sum() == 1
    assert shown.get_clim() == (-1.0, 1.0)
    single = viz.plot_contexts(np.full((2, 2, 1, 1), -3.0), NAMES[:2], pairs=[(0, 1)])
    assert single.axes[0].images[0].get_array().tolist() == [[-3.0]]


def test_frame_kernels_are_what_each_frame_is_weighed_by():
    """b13 on the labels of three frames behind each other, of which one alone is seen."""
    kernel = np.random.default_rng(3).normal(size=(5, 5, 3 * 2, 4))
    kernels = viz.frame_kernels(kernel, frames=3)
    assert kernels.shape == (3, 5, 5, 2, 4)
    for frame, label in np.ndindex(3, 2):
        seen = np.zeros((5, 5, 3, 2))
        seen[:, :, frame, label] = 1
        b13 = np.einsum("yxv,yxvc->c", seen.reshape(5, 5, 6), kernel)
        expected = b13.reshape(2, 2).min(axis=1)
        found = viz.compatibility_matrix(kernels[frame], 2)[:, label]
        np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(viz.frame_kernels(kernel, frames=1)[0], kernel)


def test_strongest_contexts_look_at_all_frames():
    maps = np.zeros((3, 3, 3, 3, 3))
    maps[2, 1, 0] = -5.0  # in the next frame
    maps[1, 0, 2] = -1.0
    maps[1, 2, 0, 0, :2] = -9.0  # less than a tenth of all positions
    assert viz.strongest_contexts(maps, 2) == [(1, 0), (0, 2)]


def test_only_the_frames_own_middle_is_the_pixel_itself():
    maps = np.ones((3, 2, 2, 3, 3))
    figure = viz.plot_contexts(maps, NAMES[:2], pairs=[(0, 1)])
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    missing = [np.ma.getmaskarray(np.ma.masked_invalid(x))[1, 1] for x in shown]
    assert missing == [False, True, False]


@pytest.mark.parametrize("frames", [0, 2, 4])
def test_kernel_of_other_frames_is_refused(frames):
    with pytest.raises(ValueError, match=f"`b13_kernel`.* of {frames} frames"):
        viz.frame_kernels(np.zeros((3, 3, 9, 3)), frames)


@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (3, 3, 2), (3, 3, 4, 4)])
def test_kernel_of_another_shape_is_refused(shape):
    for function in (viz.compatibility_matrix, viz.context_maps):
        with pytest.raises(ValueError, match="`b13_kernel`.*with 2 mixtures"):
            function(np.zeros(shape), mixtures=2)


@pytest.mark.parametrize("window", [2, 3, 4, 5])
def test_the_middle_is_where_a_convolution_puts_the_pixel_itself(window):
    kernel = np.zeros((window, window, 1, 1), "float32")
    kernel[middle_of(window), middle_of(window)] = 1
    image = np.random.default_rng(0).normal(size=(1, 6, 7, 1)).astype("float32")
    output = keras.ops.conv(image, kernel, padding="same")
    np.testing.assert_array_equal(output, image)
