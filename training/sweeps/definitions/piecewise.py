"""Potentials of PiecewiseCRF: the paper's Table I, and houses that need the right relation.

    python -m training.ablate piecewise_potentials_voc --work-dir DIR --data-dir VOC --weights FILE
    python -m training.ablate piecewise_potentials_camvid --work-dir DIR --data-dir CAMVID --weights FILE
    python -m training.ablate piecewise_houses --work-dir DIR --seeds 0 1 2

Table I takes two runs: the unary potential at one scale, and all potentials at three; each row but
the first is a prediction from some of the latter.
"""  # noqa: E501  commands stand on one line

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ...configs.networks import PiecewiseTrainConfig
from ...configs.networks.deeplab import CRFConfig
from ...configs.recipes.houses import RECIPES as _HOUSES
from ...configs.recipes.piecewise import RECIPES as _PIECEWISE
from .base import Row, Sweep

# Those that training.crf_search found for CamVid's unary term (recipe camvid).
_CAMVID_CRF = {"num_iterations": 10, "spatial": (3.0, 3.0), "bilateral": (3.54, 120.0, 3.0)}


def potentials(name: str, recipe: PiecewiseTrainConfig, crf: Mapping[str, Any]) -> Sweep:
    """Some or all potentials of a network, after one that looks at a single scale."""
    one_scale = replace(recipe, model=replace(recipe.model, scales=(1.0,), relations=()))
    rows = (
        Row("unary_1scale", one_scale, title="unary, one scale"),
        Row("unary", recipe, output="unary"),
        Row("surrounding", recipe, output="surrounding", title="surrounding alone"),
        Row("above", recipe, output="above", title="above alone"),
        Row("unary_surrounding", recipe, output="unary+surrounding", title="unary and surrounding"),
        Row("unary_above", recipe, output="unary+above", title="unary and above"),
        Row("both", recipe, title="unary, surrounding and above"),
        Row("crf", recipe, crf=crf, title="unary, surrounding and above, with a CRF"),
    )
    return Sweep(f"PiecewiseCRF on {name}: potentials", rows, reference="unary")


_VOC = potentials("PASCAL VOC 2012", _PIECEWISE["piecewise_both_voc"], asdict(CRFConfig()))
_PAPER = {
    "unary_1scale": 58.3,
    "unary": 65.5,
    "surrounding": 66.7,
    "above": 66.4,
    "both": 67.8,
    "crf": 70.3,
}

SWEEPS = {
    "piecewise_potentials_voc": replace(
        _VOC, rows=tuple(replace(row, paper=_PAPER.get(row.name)) for row in _VOC.rows)
    ),
    "piecewise_potentials_camvid": potentials(
        "CamVid", _PIECEWISE["camvid_piecewise"], _CAMVID_CRF
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
