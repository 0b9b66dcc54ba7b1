import numpy as np
import pytest

from training.analysis.crf_grid import GRIDS, coarse_to_fine, count_settings, finer, starting_axes


def test_finer_grids_close_in():
    optimum = np.log((7.3, 44.0, 9.1))
    scores, count = {}, 0
    for setting in coarse_to_fine(GRIDS["coarse"], 4, scores):
        scores[setting] = -np.square(np.log(setting) - optimum).sum()
        count += 1
    assert count == 27 + 4 * 27 == count_settings(GRIDS["coarse"], 4)
    assert max(scores.values()) > -3 * np.log(2 ** (1 / 16)) ** 2


def test_finer_goes_beyond_the_ends_and_leaves_a_single_value():
    assert finer([2.0, 8.0], 2.0) == (1.0, 2.0, 4.0)
    assert finer([2.0, 8.0, 18.0], 8.0) == (4.0, 8.0, 12.0)
    assert finer([3.0], 3.0) == [3.0]


def test_starting_axes_are_the_grids_unless_given():
    assert starting_axes("paper", (), (), ())[1] == [50, 60, 70, 80, 90, 100]
    assert starting_axes("coarse", (4.0, 2.0, 4.0), (), (5.0,)) == [[2, 4], [30, 60, 120], [5]]
    with pytest.raises(ValueError, match=r"`sigma_alpha`: .*\[0.0, 3.0\]"):
        starting_axes("coarse", (), (3.0, 0.0), ())
