import functools
import math

import numpy as np
import pytest

from keras_dpn.ops.range_boxes import (
    RELATIONS,
    box_edges,
    box_neighbors,
    count_neighbors,
    sample_neighbors,
)
from tests.keras_dpn.support import jitted, to_numpy

TENSORFLOW = pytest.mark.tensorflow_only
neighbors_of = functools.cache(jitted(box_neighbors, static=("height", "width", "box")))
edges_listed = jitted(box_edges, static=("height", "width", "box", "count", "seed"))
sample = jitted(sample_neighbors, static=("count", "seed"))


def direct_edges(height, width, box):
    """Pairs (p, q), q in the box of p, one cell after the other."""
    top, left, bottom, right = (side * min(height, width) for side in box)
    found = set()
    for y, x in np.ndindex(height, width):
        for v, u in np.ndindex(height, width):
            dy, dx = v - y, u - x
            inside = top - 1e-4 <= dy <= bottom + 1e-4 and left - 1e-4 <= dx <= right + 1e-4
            begins_here = (0 in (top, bottom) and top != bottom and dy == 0) or (
                0 in (left, right) and left != right and dx == 0
            )
            if inside and not begins_here and (dy, dx) != (0, 0):
                found.add((y * width + x, v * width + u))
    return found


def edges(neighbors, exist):
    neighbors, exist = to_numpy(neighbors), to_numpy(exist)
    return [(p, neighbors[p, k]) for p, k in zip(*np.nonzero(exist), strict=True)]


def edges_of(*size_and_box):
    return edges(*neighbors_of(*size_and_box))


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize(
    "size",
    [(7, 10), pytest.param((5, 5), marks=TENSORFLOW), pytest.param((12, 5), marks=TENSORFLOW)],
)
def test_edges_are_those_of_the_box(relation, size):
    neighbors, exist = neighbors_of(*size, relation)
    found = edges(neighbors, exist)
    assert len(found) == len(set(found))
    assert set(found) == direct_edges(*size, RELATIONS[relation])
    own = np.arange(math.prod(size))[:, None]
    assert np.all(to_numpy(exist) | (to_numpy(neighbors) == own))
    assert neighbors.shape[1] == count_neighbors(*size, relation)


def test_relations_are_ordered():
    above, below = (set(edges_of(7, 10, relation)) for relation in ("above", "below"))
    assert below == {(q, p) for p, q in above} and not above & below
    surrounding = set(edges_of(7, 10, "surrounding"))
    assert surrounding == {(q, p) for p, q in surrounding}


@TENSORFLOW
@pytest.mark.parametrize(
    "box",
    [(-0.7, -0.1, 0.0, 0.1), (0.2, -0.5, 0.5, -0.2), (-1, 0, 0, 0), (-9, -9, 9, 9), (0, 0, 9, 0.1)],
)
def test_boxes_of_ones_own(box):
    assert set(edges_of(10, 11, box)) == direct_edges(10, 11, box)


def test_a_box_beyond_the_map_costs_nothing():
    assert count_neighbors(400, 600, (-50, -50, 50, 50)) == 799 * 1199


@TENSORFLOW
def test_sizes_may_be_unknown():
    import tensorflow as tf

    @tf.function
    def found(*size):
        return box_neighbors(*size, "above"), box_neighbors(*size, (-4, -1, -3.5, 1))

    for size in ((6, 9), (8, 5)):
        above, beyond = found(*map(tf.constant, size))
        assert edges(*above) == edges_of(*size, "above")
        assert not edges(*beyond)  # nothing is that far above another cell


def test_samples_are_of_the_neighbors():
    neighbors, exist = neighbors_of(7, 10, "surrounding")
    all_of = set(edges(neighbors, exist))
    drawn = edges(*sample(neighbors, exist, count=2, seed=1))
    assert len(drawn) == len(set(drawn)) and set(drawn) < all_of
    counts, before = (np.bincount([p for p, _ in e], minlength=70) for e in (drawn, all_of))
    np.testing.assert_array_equal(counts, np.minimum(before, 2))
    assert drawn == edges(*sample(neighbors, exist, count=2, seed=1))
    assert drawn != edges(*sample(neighbors, exist, count=2, seed=2))
    assert set(edges(*sample(neighbors, exist, count=99, seed=1))) == all_of


@TENSORFLOW
def test_every_neighbor_is_drawn_as_often():
    neighbors, exist = box_neighbors(60, 60, (-0.02, -0.02, 0.02, 0.02))
    drawn = to_numpy(sample_neighbors(neighbors, exist, 2, seed=0)[0]).reshape(60, 60, 2)
    offsets = (drawn - np.arange(3600).reshape(60, 60, 1))[1:-1, 1:-1]
    found, counts = np.unique(offsets, return_counts=True)
    assert found.tolist() == [-61, -60, -59, -1, 1, 59, 60, 61]
    assert np.abs(counts - 58 * 58 / 4).max() < 100  # four standard deviations


def test_a_list_of_edges():
    neighbors, exist = neighbors_of(7, 10, "above")
    found, there = edges_listed(7, 10, "above")
    np.testing.assert_array_equal(to_numpy(there), to_numpy(exist).ravel())
    assert [*map(tuple, to_numpy(found)[to_numpy(there)])] == edges(neighbors, exist)
    drawn, there = edges_listed(7, 10, "above", count=2, seed=1)
    assert drawn.shape == (140, 2)
    expected = edges(*sample(neighbors, exist, count=2, seed=1))
    assert [*map(tuple, to_numpy(drawn)[to_numpy(there)])] == expected


@pytest.mark.parametrize(
    ("size", "box", "message"),
    [
        ((4, 4), "over", r"`relation`: expected one of \['above', .*received 'over'"),
        ((4, 4), (0.1, 0.1, 0.3), "`box`: expected a relation's name or four numbers"),
        ((4, 4), (0.1, 0, math.nan, 1), "`box`: expected a relation's name or four numbers"),
        ((4, 4), (0.3, 0, 0.1, 1), "`box`: expected top <= bottom and left <= right"),
        ((4, 4), "surrounding", "`box`: .*larger than a cell, received 'surrounding' .* 4x4"),
        ((3, 30), "above", "`box`: .*larger than a cell"),
        ((4, 6), (-3, -1, -2, 1), "`box`: .*contains another cell .* any edge on a map of 4x6"),
        ((1, 1), (-2, -2, 2, 2), "`box`: .*any edge on a map of 1x1"),
    ],
)
def test_boxes_that_are_refused(size, box, message):
    for function in (box_neighbors, box_edges, count_neighbors):
        with pytest.raises(ValueError, match=message):
            function(*size, box)


def test_a_count_below_one_is_refused():
    with pytest.raises(ValueError, match="`count`"):
        sample_neighbors(*neighbors_of(7, 10, "above"), count=0, seed=0)
