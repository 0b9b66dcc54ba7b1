"""The Deep Parsing Network's ablations, Table 2 and Fig. 6 (ICCV 2015, sec. 4.1).

    keras-dpn ablate dpn_stages_scenes --work-dir DIR --seeds 0 1 2
    keras-dpn ablate dpn_stages_camvid --work-dir DIR --data-dir CAMVID --weights FILE
    keras-dpn ablate dpn_windows_voc --work-dir DIR --data-dir VOC --weights FILE
    keras-dpn ablate dpn_contexts_street --work-dir DIR --data-dir CAMVID --weights UNARY

`dpn_stages` compares the four stages of training with all at once from the start (Fig. 6a), as many
epochs with the settings of the unary term. `dpn_windows` has the windows of the triple penalty and
the unary term with a dense CRF (Table 2a), `dpn_contexts` the windows of the label contexts, with
one mixture and with all (Table 2b); of these the first is a co-occurrence of labels, wherever they
are. Windows are in pixels of the pairwise part; the paper's 10, 50 and 100 are in those of the
image. All papers' numbers are of PASCAL VOC 2012, validation. `_street` trains the pairwise terms
alone: its unary term is that of the weights, a street network (docs/RESULTS.md).
"""

from dataclasses import asdict, replace
from typing import Any

from ...configs.crf import CRFConfig
from ...configs.networks import DPNConfig, DPNTrainConfig
from .base import Row, Sweep, recipe_of

_PAPER_WINDOWS = (63.8, 64.7, 64.3)
_PAPER_CONTEXTS = {1: 64.8, 5: 66.0, 9: 66.3}


def stages(recipe: DPNTrainConfig, name: str) -> Sweep:
    """Compare the stages one after the other with all at once."""
    settings = [recipe.stage(stage.name) for stage in recipe.stages]
    changes: dict[str, Any] = {
        stage.name: replace(recipe.stage(stage.name), epochs=0, steps=0) for stage in recipe.stages
    }
    epochs = sum(stage.epochs for stage in settings)
    rates = recipe.unary.layer_rates | recipe.joint.layer_rates
    changes["joint"] = replace(recipe.unary, epochs=epochs, layer_rates=rates)
    return Sweep(
        f"DPN on {name}, stage by stage",
        (
            Row("unary", recipe, "unary", title="unary term", paper=62.4),
            Row("triple", recipe, "triple", title="+ triple penalty", paper=64.7),
            Row("contexts", recipe, "contexts", title="+ label contexts", paper=66.5),
            Row("joint", recipe, "joint", title="+ joint tuning", paper=67.8),
            Row("at_once", replace(recipe, **changes), title="all at once"),
        ),
        reference="joint",
    )


def windows(recipe: DPNTrainConfig, name: str, sizes: tuple[int, int, int]) -> Sweep:
    """Compare windows of b12 that cover the paper's 10, 50 and 100 pixels."""
    recipe = _without(recipe, "contexts", "joint")
    rows = [
        Row(
            f"window_{size}",
            replace(recipe, model=_with_window(recipe.model, size)),
            "triple",
            title=f"triple penalty {size}x{size}",
            paper=paper,
        )
        for size, paper in zip(sizes, _PAPER_WINDOWS, strict=True)
    ]
    unary = Row("unary", recipe, "unary", title="unary term", paper=62.4)
    if not recipe.unary.is_trained:
        unary = replace(unary, stage=None, output="unary")
    dense = replace(
        unary, name="dense_crf", crf=asdict(CRFConfig()), title="unary term, dense CRF", paper=63.4
    )
    return Sweep(f"DPN on {name}: windows of b12", (unary, dense, *rows), reference="unary")


def _with_window(model: DPNConfig, size: int) -> DPNConfig:
    return replace(model, local_conv=replace(model.local_conv, window=size))


def contexts(recipe: DPNTrainConfig, name: str) -> Sweep:
    """Compare windows of b13 without mixtures, and the largest with."""
    recipe = _without(recipe, "joint")
    mixtures = recipe.model.contexts.mixtures

    def row(size: int, count: int, paper: float) -> Row:
        contexts = replace(recipe.model.contexts, window=size, mixtures=count)
        model = replace(recipe.model, contexts=contexts)
        mixed, words = ("_mixtures", " mixtures") if count > 1 else ("", "")
        title = f"label contexts {size}x{size}{words}"
        config = replace(recipe, model=model)
        return Row(f"window_{size}{mixed}", config, "contexts", title=title, paper=paper)

    single = [row(size, 1, paper) for size, paper in _PAPER_CONTEXTS.items()]
    rows = (*single, row(9, mixtures, 66.5))
    return Sweep(f"DPN on {name}: windows and mixtures of b13", rows, reference="window_1")


def _without(recipe: DPNTrainConfig, *stages: str) -> DPNTrainConfig:
    changes: dict[str, Any] = {
        name: replace(recipe.stage(name), epochs=0, steps=0) for name in stages
    }
    return replace(recipe, **changes)


_CAMVID = recipe_of("dpn/camvid", DPNTrainConfig)
_STREET = replace(
    _without(recipe_of("dpn/camvid/street", DPNTrainConfig), "joint", "finish"),
    triple=_CAMVID.triple,
    contexts=replace(_CAMVID.contexts, epochs=1),
    validation_epochs=1,
)
_RECIPES = {
    "scenes": (recipe_of("dpn/scenes", DPNTrainConfig), (2, 7, 14)),
    "camvid": (_CAMVID, (3, 13, 25)),
    "voc": (recipe_of("dpn/voc", DPNTrainConfig), (10, 50, 100)),
}
_FIELDS = _RECIPES | {"street": (_STREET, (5, 25, 50))}

SWEEPS = {
    **{f"dpn_stages_{name}": stages(recipe, name) for name, (recipe, _) in _RECIPES.items()},
    **{f"dpn_windows_{name}": windows(recipe, name, of) for name, (recipe, of) in _FIELDS.items()},
    **{f"dpn_contexts_{name}": contexts(recipe, name) for name, (recipe, _) in _FIELDS.items()},
}
