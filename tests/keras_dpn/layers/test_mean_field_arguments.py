import numpy as np
import pytest

from keras_dpn import layers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_iterations": 0}, "`num_iterations`: expected an integer of at least 1, received 0"),
        ({"inference_iterations": 1.5}, "`inference_iterations`: expected an integer"),
        ({"filter": "bilateral"}, r"`filter`: expected one of \['exact', 'permutohedral', 'win"),
        ({"normalization": "mean"}, "`normalization`: expected one of .*received 'mean'"),
        ({"compatibility": "learnt"}, "`compatibility`: expected one of .*received 'learnt'"),
        ({"compatibility": [[0.0, 1.0]]}, r"`compatibility`: expected .* a matrix \(L, L\)"),
        ({"compatibility": [[np.nan]]}, "`compatibility`: expected .* finite numbers"),
        ({"compatibility": [[0.0, 1.0], [1.0]]}, "`compatibility`: expected .* a matrix"),
        ({"compatibility": None}, "`compatibility`: expected"),
        ({"bilateral": None, "spatial": None}, "`bilateral` and `spatial`: expected at least one"),
        ({"bilateral": ()}, r"`bilateral`: expected \(weight, sa, sb\), received \(\)"),
        ({"bilateral": 4.0}, r"`bilateral`: expected \(weight, sa, sb\), received 4.0"),
        ({"bilateral": "4,121,5"}, r"`bilateral`: expected \(weight, sa, sb\), received '4,121,5'"),
        ({"bilateral": (4.0, 121.0)}, r"`bilateral`: expected \(weight, sa, sb\), received \(4"),
        ({"bilateral": [(4.0, 121.0)]}, r"`bilateral`: expected \(weight, sa, sb\), received \(4"),
        ({"bilateral": (-4.0, 121.0, 5.0)}, "`bilateral`: expected a weight of at least 0 in"),
        ({"bilateral": (np.nan, 121.0, 5.0)}, "`bilateral`: expected a weight of at least 0 in"),
        ({"bilateral": (4.0, 0.0, 5.0)}, "`bilateral`: expected standard deviations above 0 in"),
        ({"bilateral": (4.0, 9.0, (5.0, -1.0))}, "`bilateral`: expected standard deviations abo"),
        ({"bilateral": (4.0, np.inf, 5.0)}, "`bilateral`: expected standard deviations above 0"),
        ({"spatial": (3.0,)}, r"`spatial`: expected \(weight, sg\), received \(3.0,\)"),
        ({"spatial": 3.0}, r"`spatial`: expected \(weight, sg\), received 3.0"),
        ({"spatial": (-3.0, 3.0)}, "`spatial`: expected a weight of at least 0 in"),
        ({"spatial": (3.0, -3.0)}, "`spatial`: expected standard deviations above 0"),
        ({"spatial": (3.0, ())}, "`spatial`: expected standard deviations above 0"),
        ({"trainable_weights_of": ("sigma",)}, "`trainable_weights_of`: expected one of .*'sigma'"),
        ({"trainable_weights_of": "weights"}, "`trainable_weights_of`: expected a tuple or list"),
        (
            {"trainable_weights_of": ("bandwidths",)},
            "`trainable_weights_of`: the permutohedral lattice has no .* use filter='window'",
        ),
        (
            {"trainable_weights_of": ("compatibility",)},
            "`trainable_weights_of`: Potts' model has no weights; use compatibility='matrix'",
        ),
        ({"window": 5}, "`window`: expected a size with filter='window', and None without"),
        ({"filter": "window"}, "`window`: expected a size with filter='window'"),
        ({"min_probability": 1.0}, "`min_probability`: expected a number from 0 to below 1"),
        ({"min_probability": -0.1}, "`min_probability`: expected a number from 0 to below 1"),
        ({"min_probability": "0.1"}, "`min_probability`: expected a number .*, received '0.1'"),
        ({"prune_below": 1.0}, "`prune_below`: expected a number from 0 to below 1"),
        ({"prune_below": 1e-3, "compatibility": "matrix"}, "`prune_below`: needs .*='matrix'"),
        ({"prune_below": 1e-3, "filter": "window", "window": 3}, "`prune_below`: needs .*window"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.MeanFieldCRF(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bilateral": (4.0, (9.0, 9.0, 9.0), 5.0)}, "argument `bilateral`.* one number or 2"),
        ({"bilateral": (4.0, 9.0, (5.0, 5.0))}, "argument `bilateral`.* one number or 3"),
        ({"spatial": (4.0, (9.0,))}, "`spatial`: expected one number or 2, received"),
        ({"compatibility": np.eye(3)}, r"expected a matrix \(2, 2\) for logits of 2 labels"),
        ({"filter": "window", "window": (3, 3, 3)}, "`window`: expected an integer or 2 integers"),
        ({"min_probability": 0.5}, "`min_probability`: expected a number below 1 / 2, received"),
        ({"prune_below": 0.5}, "`prune_below`: expected a number below 1 / 2, received"),
    ],
)
def test_refuses_what_does_not_fit_the_inputs(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.MeanFieldCRF(**settings)((np.ones((1, 4, 4, 2)), np.ones((1, 4, 4, 3))))
