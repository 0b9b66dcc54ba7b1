import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.configs.networks import BackboneConfig, ContextsConfig, LocalConvConfig
from training.configs.recipes import RECIPES
from training.engine.checks import check_config
from training.engine.networks import build_model
from training.sweeps.definitions import SWEEPS, Row, Sweep
from training.sweeps.plan import CheckpointRef, make_plan

RUNS = Path("/runs")
BACKBONE = BackboneConfig("large_fov", fc6_dilation=2, fc_width=8)
TINY = {
    "width": 0.02,
    "backbone": BACKBONE,
    "local_conv": LocalConvConfig(window=7),
    "contexts": ContextsConfig(mixtures=2),
    "pairwise_stride": 4,
}
WINDOW_3 = LocalConvConfig(window=3)
SMALL = {"width": 0.01, "block6": ((1, 4),), "units": 4}  # the last two are PiecewiseCRF's


def small(config):
    changes = {name: value for name, value in SMALL.items() if hasattr(config.model, name)}
    return replace(config, model=replace(config.model, **changes))


def dpn(unary=2, triple=1, contexts=0, joint=0, **model):
    """The recipe of the scenes, tiny, with so many epochs."""
    recipe = RECIPES["dpn/scenes"]
    epochs = {"unary": unary, "triple": triple, "contexts": contexts, "joint": joint}
    stages = {name: replace(recipe.stage(name), epochs=count) for name, count in epochs.items()}
    return replace(recipe, model=replace(recipe.model, **(TINY | model)), **stages)


def plan_of(*rows, seeds=(0,), reuse=None, reference=None):
    sweep = Sweep("a sweep", rows, reference or rows[0].name)
    return make_plan(sweep, seeds, RUNS, 3, reuse)


def trained(job):
    return [s.name for s in job.config.stages if job.config.stage(s.name).epochs]


def test_rows_share_what_they_begin_with():
    plan = plan_of(
        Row("unary", dpn(), "unary"),
        Row("small", dpn(local_conv=WINDOW_3), "triple"),
        Row("contexts", dpn(contexts=1, local_conv=WINDOW_3)),
        Row("other_rate", replace(dpn(), unary=replace(dpn().unary, learning_rate=1.0))),
        Row("near", dpn(backbone=replace(BACKBONE, fc6_dilation=1))),
        Row("penalty", dpn(local_conv=replace(WINDOW_3, color_weight=2.0))),
        seeds=(0, 5),
    )
    jobs = {job.run.name: job for job in plan.jobs}
    first = RUNS / "unary_seed0"
    assert {name: (trained(job), job.shared) for name, job in jobs.items() if "seed0" in name} == {
        "unary_seed0": (["unary", "triple"], None),
        "small_seed0": (["triple"], CheckpointRef(first, "unary")),
        "contexts_seed0": (["contexts"], CheckpointRef(RUNS / "small_seed0", "triple")),
        "other_rate_seed0": (["unary", "triple"], None),
        "near_seed0": (["unary", "triple"], None),
        "penalty_seed0": (["triple"], CheckpointRef(first, "unary")),  # b12 starts otherwise
    }
    assert plan.checkpoints["unary", 0] == CheckpointRef(first, "unary")
    assert plan.checkpoints["contexts", 0] == CheckpointRef(RUNS / "contexts_seed0")
    assert plan.checkpoints["unary", 5] == CheckpointRef(RUNS / "unary_seed5", "unary")
    assert jobs["small_seed5"].shared == CheckpointRef(RUNS / "unary_seed5", "unary")
    assert {job.config.seed for name, job in jobs.items() if "seed5" in name} == {5}


def test_stages_of_one_run_are_one_run():
    rows = [Row(name, dpn(2, 1, 1, 1), name) for name in ("unary", "triple", "contexts", "joint")]
    plan = plan_of(*rows, Row("at_once", dpn(0, 0, 0, 5)))
    assert [job.run.name for job in plan.jobs] == ["at_once_seed0", "joint_seed0"]
    assert plan.checkpoints["triple", 0] == CheckpointRef(RUNS / "joint_seed0", "triple")


def test_a_row_starts_from_another():
    clips, pictures = RECIPES["dpn-video/moving-scenes"], RECIPES["dpn/moving-scenes"]
    clips = replace(clips, model=replace(clips.model, **TINY))
    pictures = replace(pictures, model=replace(pictures.model, **TINY))
    plan = plan_of(
        Row("unary", pictures, "unary"),
        Row("joint", pictures),
        Row("linked", clips, start="unary"),
        Row("linked_late", clips, start="joint"),
    )
    starts = {job.run.name: job.start for job in plan.jobs}
    assert starts["linked_seed0"] == CheckpointRef(RUNS / "joint_seed0", "unary")
    assert starts["linked_late_seed0"] == CheckpointRef(RUNS / "joint_seed0")
    assert list(starts).index("joint_seed0") < list(starts).index("linked_seed0")


def test_rows_reuse_runs_that_are_there(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"stages": [{"name": "unary"}]}))
    plan = plan_of(
        Row("unary", dpn(), "unary"),
        Row("small", dpn(local_conv=WINDOW_3)),
        reuse={("unary", 0): CheckpointRef(tmp_path, "unary")},
    )
    assert [(job.run.name, job.shared) for job in plan.jobs] == [
        ("small_seed0", CheckpointRef(tmp_path, "unary"))
    ]
    assert plan.checkpoints["unary", 0] == CheckpointRef(tmp_path, "unary")


def test_stages_with_settings_in_common_stay_together():
    recipe = RECIPES["piecewise/houses/above"]

    def row(name, *relations):
        model = replace(recipe.model, relations=relations, width=0.02, block6=((1, 8),), units=4)
        return Row(name, replace(recipe, model=model))

    plan = plan_of(row("above", "above"), row("both", "above", "surrounding"), row("unary"))
    assert [(job.run.name, trained(job), job.shared) for job in plan.jobs] == [
        ("unary_seed0", ["unary"], None),
        ("above_seed0", ["above"], CheckpointRef(RUNS / "unary_seed0", "unary")),
        ("both_seed0", ["surrounding", "above"], CheckpointRef(RUNS / "unary_seed0", "unary")),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Row("a b", dpn())], "names of letters, digits and underscores"),
        ([Row("a", dpn()), Row("a", dpn())], "each once, received 'a'"),
        ([Row("a", dpn(), start="b"), Row("b", dpn())], "Row a: `start`: .* received 'b'"),
        ([Row("a", dpn(), "joint")], r"Row a: `stage`: .*\('unary', 'triple'\), received 'joint'"),
        ([Row("a", dpn(), "triple", output="unary")], "Row a: expected `stage` or `output`"),
        ([Row("a", dpn(), crf={"iterations": 3})], "Row a: `crf`: unknown fields: iterations"),
    ],
)
def test_rows_that_make_no_sweep(rows, message):
    with pytest.raises(ValueError, match=message):
        Sweep("a sweep", tuple(rows), "a")
    with pytest.raises(ValueError, match="`reference`: expected one of .*'a'.*received 'z'"):
        Sweep("a sweep", (Row("a", dpn()),), "z")


@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps_can_be_trained(name):
    rows = SWEEPS[name].rows
    for row in rows:
        check_config(row.config)
    configs = [row.config for row in rows if row.output]
    for config in {config.model: config for config in configs}.values():
        model = build_model(small(config), 3)
        outputs = [row.output for row in rows if row.output and row.config == config]
        assert outputs and all(map(model.has_head, outputs))


def test_potentials_are_one_run():
    rows = SWEEPS["piecewise_potentials_camvid"].rows
    plan = plan_of(*(replace(row, config=small(row.config)) for row in rows))
    assert [trained(job) for job in plan.jobs] == [["unary"], ["unary", "surrounding", "above"]]
    assert [job.shared for job in plan.jobs] == [None, None]
    assert len(set(plan.checkpoints.values())) == 2


def test_a_unary_term_that_is_not_trained_is_scored_in_front_of_a_field():
    rows = SWEEPS["dpn_windows_street"].rows
    plan = plan_of(*(replace(row, config=small(row.config)) for row in rows))
    assert [trained(job) for job in plan.jobs] == 3 * [["triple"]]
    runs = {name: checkpoint.run for (name, _), checkpoint in plan.checkpoints.items()}
    assert runs["unary"] == runs["dense_crf"] == runs["window_25"]


def test_relations_with_boxes_of_their_own_are_planned():
    config = RECIPES["piecewise/houses/above"]
    narrow = replace(config, model=replace(config.model, width=0.02, block6=((1, 8),), units=4))
    assert [trained(job) for job in plan_of(Row("above", narrow)).jobs] == [["unary", "above"]]
