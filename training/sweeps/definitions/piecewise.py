"""Potentials of PiecewiseCRF: the paper's Table I, and houses that need the right relation.

    keras-dpn ablate piecewise_potentials_voc --work-dir DIR --data-dir VOC --weights FILE
    keras-dpn ablate piecewise_potentials_camvid --work-dir DIR --data-dir CAMVID --weights FILE
    keras-dpn ablate piecewise_houses --work-dir DIR --seeds 0 1 2

Table I takes two runs: the unary potential at one scale, and all potentials at three; each row but
the first is a prediction from some of the latter.
"""

from dataclasses import asdict, replace
from typing import Any

from ...configs.crf import CRFConfig
from ...configs.networks import PiecewiseTrainConfig
from ...configs.recipes import RECIPES
from .base import Row, Sweep, recipe_of

# Those that `keras-dpn crf-search` found for the unary term of dpn/camvid.
_CAMVID_CRF = {"num_iterations": 10, "spatial": (3.0, 3.0), "bilateral": (3.54, 120.0, 3.0)}


def potentials(name: str, recipe: PiecewiseTrainConfig, crf: dict[str, Any]) -> Sweep:
    """Compare some or all potentials of a network, after one that sees a single scale."""
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


_VOC = potentials(
    "PASCAL VOC 2012", recipe_of("piecewise/voc/both", PiecewiseTrainConfig), asdict(CRFConfig())
)
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
        "CamVid", recipe_of("piecewise/camvid", PiecewiseTrainConfig), _CAMVID_CRF
    ),
    "piecewise_houses": Sweep(
        "PiecewiseCRF on houses: potentials",
        (
            Row("unary", RECIPES["piecewise/houses/unary"]),
            Row("above", RECIPES["piecewise/houses/above"], title="unary and above"),
            Row(
                "surrounding",
                RECIPES["piecewise/houses/surrounding"],
                title="unary and surrounding",
            ),
        ),
        reference="unary",
    ),
}
