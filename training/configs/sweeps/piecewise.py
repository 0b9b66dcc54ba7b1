"""Potentials of PiecewiseCRF: the paper's Table I, and houses that need the right relation.

    python -m training.ablate piecewise_potentials_voc --work-dir DIR --data-dir VOC --weights FILE
    python -m training.ablate piecewise_houses --work-dir DIR --seeds 0 1 2

The unary potential is trained once for all rows that have it. Table I's last row, 70.3, is the one
before with a fully connected CRF: `training.crf_search`, and `training.evaluate --crf`.
"""

from training.configs.houses import RECIPES as _HOUSES
from training.configs.piecewise import RECIPES as _PIECEWISE
from training.configs.sweeps.base import Row, Sweep

SWEEPS = {
    "piecewise_potentials_voc": Sweep(
        "PiecewiseCRF on PASCAL VOC 2012: potentials",
        (
            Row(
                "unary_1scale",
                _PIECEWISE["piecewise_unary_1scale_voc"],
                title="unary, one scale",
                paper=58.3,
            ),
            Row("unary", _PIECEWISE["piecewise_unary_voc"], title="unary", paper=65.5),
            Row(
                "surrounding",
                _PIECEWISE["piecewise_surrounding_voc"],
                title="surrounding alone",
                paper=66.7,
            ),
            Row("above", _PIECEWISE["piecewise_above_voc"], title="above alone", paper=66.4),
            Row(
                "both",
                _PIECEWISE["piecewise_both_voc"],
                title="unary, surrounding and above",
                paper=67.8,
            ),
        ),
        reference="unary",
    ),
    "piecewise_houses": Sweep(
        "PiecewiseCRF on houses: potentials",
        (
            Row("unary", _HOUSES["houses_unary"]),
            Row("above", _HOUSES["houses_above"], title="unary and above"),
            Row("surrounding", _HOUSES["houses_surrounding"], title="unary and surrounding"),
        ),
        reference="unary",
    ),
}
