import re

import pytest

from training.configs.networks import (
    DeepLabTrainConfig,
    FCNTrainConfig,
    ParseNetTrainConfig,
    PiecewiseTrainConfig,
    SpatialTemporalDPNTrainConfig,
)
from training.configs.networks.deeplab import CRFConfig, DeepLabConfig
from training.configs.networks.fcn import FCNConfig
from training.configs.networks.parsenet import ParseNetConfig
from training.configs.networks.piecewise_crf import PiecewiseCRFConfig
from training.configs.networks.spatial_temporal_dpn import SpatialTemporalDPNConfig
from training.configs.serialization import to_json
from training.reporting.sections import scores


def stage(name, miou, iou, **facts):
    keys = ("accuracy", "mean_accuracy", "frequency_weighted_iou")
    return {"name": name, "miou": miou, "iou": iou, **dict.fromkeys(keys, 0.5), **facts}


STAGES = [
    stage("unary", 0.40, [0.6, None], epochs=3),
    stage("triple", 0.45, [0.6, 0.1], epochs=None),
    stage("joint", 0.30, [0.5996, None], epochs=2000),
]


def cells(table, name):
    row = re.search(rf"<th>{name}</th>(.*?)</tr>", table).group(1)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td>(.*?)</td>", row)]


def test_table_shows_values_and_the_change_from_the_stage_before():
    table = scores.score_table(STAGES, ("road", "tree"))
    assert cells(table, "mean IoU") == ["40.0", "45.0 +5.0", "30.0 −15.0"]
    assert cells(table, "road") == ["60.0", "60.0 ±0.0", "60.0 ±0.0"]
    assert cells(table, "tree") == ["–", "10.0", "–"]
    assert cells(table, "epochs") == ["3", "–", "2,000"]
    assert "parameters trained" not in table
    assert "+ triple penalty (b12)" in table
    assert 'class="up">+5.0' in table
    assert 'class="down">−15.0' in table


def test_temporal_consistency_is_shown_where_it_is_known():
    stages = [STAGES[0], {**STAGES[1], "consistency": {"miou": 0.625, "pixels": 9}}]
    table = scores.score_table(stages, ("road", "tree"))
    assert cells(table, "temporal consistency") == ["–", "62.5"]
    assert "<b>62.5 %</b><span>temporal consistency" in scores.facts(stages)
    assert "consistency" not in scores.score_table(STAGES, ("road", "tree"))
    assert "consistency" not in scores.facts(STAGES)
    unknown = [{**STAGES[0], "consistency": {"miou": None, "pixels": 0}}]
    assert "consistency" not in scores.facts(unknown)


def test_facts_compare_the_last_stage_with_the_first():
    facts = scores.facts(STAGES)
    assert "<b>30.0 %</b>" in facts
    assert "<b>−10.0</b>" in facts
    assert "over the first stage" not in scores.facts(STAGES[:1])


def scored(name, ta, ece):
    objects = {"ta": ta, "la": 0.5, "ba": None, "box_threshold": 0.5, "boundary_tolerance": 0.0075}
    objects["per_class"] = {"ta": [ta, None], "la": [0.5, 0.25], "ba": [None, None]}
    calibration = {"ece": ece, "pixels": [3] * 15}
    return stage(name, 0.4, [0.6, None], objects=objects, calibration=calibration)


def test_objects_and_calibration_are_shown_where_they_are_known():
    stages = [STAGES[0], scored("contexts", 0.9, 0.125), scored("joint", 0.8, 0.1)]
    table = scores.score_table(stages, ("road", "tree"))
    assert cells(table, r"tagging accuracy \(TA\)") == ["–", "90.0", "80.0 −10.0"]
    assert cells(table, r"calibration error \(ECE\)") == ["–", "12.5", "10.0 −2.5"]
    assert 'class="down">−10.0' in table and 'class="up">−2.5' in table  # a smaller error is better
    assert "boundary accuracy" not in table  # no stage has it
    assert "ECE: 15 bins." in table and "ECE" not in scores.score_table(STAGES, ("road", "tree"))
    single = scores.object_table(stages[-1], ("road", "tree"))
    assert cells(single, "road") == ["80.0", "50.0", "–"]
    assert scores.object_table(STAGES[0], ("road", "tree")) == ""


def test_columns_may_be_compared_with_the_first():
    table = scores.score_table(STAGES, ("road", "tree"), from_first=True)
    assert cells(table, "mean IoU") == ["40.0", "45.0 +5.0", "30.0 −10.0"]


def test_settings_that_differ():
    runs = {f"<{seed}>": {"config": {"model": {"width": 1}, "seed": seed}} for seed in (1, 2)}
    runs["<2>"]["versions"] = {"keras": "<3"}
    text = scores.differences(runs)
    assert "<th>&lt;1&gt;</th><th>&lt;2&gt;</th>" in text and "width" not in text
    assert cells(text, "seed") == ["1", "2"] and cells(text, "keras") == ["–", "&lt;3"]
    assert scores.differences({"a": runs["<1>"], "b": runs["<1>"]}) == "<p>None.</p>"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (150, "2 min"), (7200, "2.0 h")]
)
def test_duration(seconds, text):
    assert scores.duration(seconds) == text


def test_settings_carry_dotted_names():
    text = scores.settings(
        {"config": {"model": {"width": 0.5}, "seed": 1}, "versions": {"k": "<3"}}
    )
    assert "<th>model.width</th><td>0.5</td>" in text
    assert "<th>seed</th><td>1</td>" in text
    assert "&lt;3" in text


def test_settings_leave_out_stages_without_epochs():
    stages = {"joint": {"epochs": 2, "power": 0.9}, "finish": {"epochs": 0, "power": 0.5}}
    text = scores.settings({"config": stages | {"validation_epochs": 1}})
    assert "<th>joint.power</th><td>0.9</td>" in text and "All 3 settings" in text
    assert "finish" not in text


@pytest.mark.parametrize(
    ("pairwise", "text"),
    [
        (None, "vgg16 trunk, width 1; float32"),
        ("triple", "vgg16 trunk, width 1; b12 50×50; float32"),
        ("contexts", "vgg16 trunk, width 1; b12 50×50; b13 9×9, 5 mixtures; float32"),
    ],
)
def test_summary_names_the_parts_the_network_has(pairwise, text):
    model = {"trunk": "vgg16", "width": 1, "pairwise": pairwise}
    model |= {"triple_window": 50, "context_window": 9, "mixtures": 5}
    for network in ({}, {"network": "DPN"}):  # the first versions knew no other
        assert scores.summary({"model": model, "precision": "float32", **network}) == text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "largefov, width 1.0; float32"),
        ({"multiscale": True}, "largefov, width 1.0; multi-scale branches; float32"),
        ({"crf": CRFConfig(5)}, "largefov, width 1.0; CRF, 5 iterations; float32"),
        ({"global_context": True}, "largefov, width 1.0; global context; float32"),
    ],
)
def test_summary_of_deeplab(settings, text):
    config = DeepLabTrainConfig(model=DeepLabConfig(**settings))
    assert scores.summary(to_json(config)) == text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "late fusion of context, 1×1; normalised to 10"),
        ({"fusion": None, "normalize": False}, "not normalised"),
        ({"fusion": None, "init_scale": 1.0}, "normalised to 1"),
        (
            {"fusion": "early", "grid": (1, 2), "combine": "conv"},
            "early fusion of context, 1×1 and 2×2; joined by a 1×1 convolution; normalised to 10",
        ),
    ],
)
def test_summary_of_parsenet(settings, text):
    config = ParseNetTrainConfig(model=ParseNetConfig(**settings))
    assert scores.summary(to_json(config)) == f"width 1.0; {text}; float32"


def test_summary_of_fcn():
    config = FCNTrainConfig(model=FCNConfig(taps=("fc7", "pool4"), normalize=False))
    text = "fc7 + pool4, width 1.0; not normalised; float32"
    assert scores.summary(to_json(config)) == text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"crf": CRFConfig(5)},
            "unary + “surrounding” + “above”, width 1.0; scales 1.2, 0.8, 0.4; mean field, "
            "2 iterations; CRF, 5 iterations",
        ),
        ({"relations": (), "scales": (1.0,)}, "unary, width 1.0; scales 1"),
    ],
)
def test_summary_of_piecewise_crf(settings, text):
    config = PiecewiseTrainConfig(model=PiecewiseCRFConfig(**settings))
    assert scores.summary(to_json(config)) == f"{text}; float32"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "3 frames, linked along the optical flow; b12 3×50×50; b13 3×7×7, 5 mixtures"),
        (
            {"frames": 5, "linking": "static", "pairwise": "triple"},
            "5 frames, not linked by optical flow; b12 5×50×50",
        ),
        (
            {"global_context": True, "pairwise": None},
            "3 frames, linked along the optical flow; global context",
        ),
    ],
)
def test_summary_of_a_network_for_clips(settings, text):
    config = SpatialTemporalDPNTrainConfig(model=SpatialTemporalDPNConfig(**settings))
    assert scores.summary(to_json(config)) == f"large_fov trunk, width 1.0; {text}; float32"
