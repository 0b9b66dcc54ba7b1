"""ParseNet's ablations: fusions on PASCAL VOC 2012 (Table 6), FCN's skip connections (Table 3).

    keras-dpn ablate parsenet_fusions_voc --work-dir DIR --data-dir VOC --weights FILE
    keras-dpn ablate fcn_taps_context --work-dir DIR --data-dir CONTEXT --weights FILE
    keras-dpn ablate parsenet_fusions_camvid --work-dir DIR --data-dir CAMVID --weights FILE
    keras-dpn ablate parsenet_fusions_context_scenes --work-dir DIR --seeds 0 1 2

Each fusion, and each set of skip connections, without and with normalised features.
"""

from dataclasses import replace
from typing import Literal

from ...configs.networks import FCNTrainConfig, ParseNetTrainConfig
from ...configs.networks.fcn import Skip
from .base import Row, Sweep, recipe_of

# mIoU without and with normalisation.
_FUSIONS: dict[Literal["late", "early"] | None, tuple[float, float]] = {
    None: (65.82, 65.66),
    "early": (65.30, 69.43),
    "late": (69.29, 69.55),
}
_SKIPS: dict[tuple[Skip, ...], tuple[float, float]] = {
    ("pool6", "fc7"): (38.2, 37.6),
    ("pool6", "fc7", "conv5"): (39.5, 39.9),
    ("pool6", "fc7", "conv5", "conv4"): (36.5, 40.2),
    ("pool6", "fc7", "conv5", "conv4", "conv3"): (0.009, 40.4),
}
_NORMALIZED = ((False, "", ""), (True, "_norm", ", normalised"))


def fusions(recipe: ParseNetTrainConfig, name: str) -> Sweep:
    """Compare how the mean over the image is fused with the local features."""
    rows = [
        Row(
            f"{fusion or 'baseline'}{ending}",
            replace(recipe, model=replace(recipe.model, fusion=fusion, normalize=normalize)),
            title=f"{f'{fusion} fusion' if fusion else 'fc7 alone'}{words}",
            paper=papers[normalize],
        )
        for fusion, papers in _FUSIONS.items()
        for normalize, ending, words in _NORMALIZED
    ]
    return Sweep(f"ParseNet on {name}: fusions", tuple(rows), reference="baseline")


def skips(recipe: FCNTrainConfig, name: str) -> Sweep:
    """Compare an increasing number of layers with a classifier of their own."""
    fc7 = replace(recipe, model=replace(recipe.model, skips=("fc7",), normalize=False))
    rows = [
        Row(
            f"{chosen[-1] if len(chosen) > 2 else 'pool6'}{ending}",
            replace(recipe, model=replace(recipe.model, skips=chosen, normalize=normalize)),
            title=f"{' + '.join(chosen)}{words}",
            paper=papers[normalize],
        )
        for chosen, papers in _SKIPS.items()
        for normalize, ending, words in _NORMALIZED
    ]
    rows.insert(0, Row("fc7", fc7, paper=36.6))
    return Sweep(f"FCN on {name}: skip connections", tuple(rows), reference="fc7")


SWEEPS = {
    "parsenet_fusions_voc": fusions(
        recipe_of("parsenet/voc/late-norm", ParseNetTrainConfig), "PASCAL VOC 2012"
    ),
    "parsenet_fusions_camvid": fusions(recipe_of("parsenet/camvid", ParseNetTrainConfig), "CamVid"),
    "parsenet_fusions_context_scenes": fusions(
        recipe_of("parsenet/context-scenes", ParseNetTrainConfig), "context scenes"
    ),
    "fcn_taps_context": skips(recipe_of("fcn/pascal-context", FCNTrainConfig), "PASCAL-Context"),
}
