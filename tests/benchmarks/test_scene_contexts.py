import numpy as np
import pytest

from benchmarks import scene_contexts
from keras_dpn import viz
from keras_dpn.models import DPN, SpatialTemporalDPN
from keras_dpn.models.dpn_arguments import merge_groups
from training.data.generated.scenes import CLASSES, RELATIONS, ScenesDataset

SCENES = ScenesDataset({"train": 8}, size=(48, 64))
STRIDE = 8


@pytest.fixture(scope="module")
def related():
    """A network whose label contexts are the relations: each makes its label likely."""
    model = small_model()
    labels, n = CLASSES.num_classes, 5
    y, x = np.mgrid[:n, :n] - n // 2
    kernel = np.zeros((n, n, labels, labels, 2), "float32")
    for relation in RELATIONS:
        u, v = (CLASSES.names.index(name) for name in (relation.label, relation.neighbour))
        kernel[..., v, u, :] = -1.0 * scene_contexts.SIDES[relation.direction](y, x)[..., None]
    model.get_layer("b13").kernel.assign(kernel.reshape(n, n, labels, labels * 2))
    return model


def small_model(network=DPN, **options):
    settings = {"width": 0.05, "backbone": {"name": "large_fov", "fc_width": 8}}
    settings |= {"local_conv": {"window": 3}, "contexts": {"window": 5, "mixtures": 2}}
    settings |= {"pairwise_stride": STRIDE}
    return network(CLASSES.num_classes, **merge_groups(settings, options))


def middle_maps(model):
    kernels = model.context_kernels()
    return viz.context_maps(kernels[len(kernels) // 2], model.contexts["mixtures"])


def verdicts(maps):
    return list(scene_contexts.relations_table(maps, CLASSES.names).columns[-1].cells)


def test_relations_that_were_learned_are_found(related):
    maps = middle_maps(related)
    assert verdicts(maps) == ["found"] * len(RELATIONS)
    assert scene_contexts.relation_auc(maps, SCENES, STRIDE) == pytest.approx(1, abs=0.005)


def test_a_network_for_clips_keeps_them_in_its_middle_frame(related):
    model = small_model(SpatialTemporalDPN, linking="static")
    model.start_from(related)
    assert verdicts(middle_maps(model)) == ["found"] * len(RELATIONS)


def test_relations_that_were_not_learned_are_missed():
    maps = middle_maps(small_model(contexts={"noise": 0.0}))
    assert verdicts(maps) == ["not found"] * len(RELATIONS)
    assert scene_contexts.relation_auc(maps, SCENES, STRIDE) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("above", 4.5), ("below", 19.5), ("left", 10.5), ("right", 13.5), ("around", 12.0)],
)
def test_side_mean_takes_one_side(direction, expected):
    context = np.arange(25.0).reshape(5, 5)
    context[2, 2] = 1e6  # the pixel itself is on no side
    assert scene_contexts.side_mean(context, direction) == pytest.approx(expected)


@pytest.mark.parametrize(("direction", "expected"), [("above", 1.5), ("below", 11.5)])
def test_an_even_window_reaches_further_down(direction, expected):
    context = np.arange(16.0).reshape(4, 4)
    assert scene_contexts.side_mean(context, direction) == pytest.approx(expected)


def test_neighbours_in_even_windows_are_those_of_the_convolution():
    odd = scene_contexts.neighbor_fractions(SCENES, 5, STRIDE)
    even = scene_contexts.neighbor_fractions(SCENES, 4, STRIDE)
    np.testing.assert_allclose(even, odd[:, :, 1:, 1:])


def test_side_mean_of_a_single_position():
    assert scene_contexts.side_mean(np.array([[3.0]]), "above") == 3.0


def test_neighbor_fractions_count_true_neighbors():
    fractions = scene_contexts.neighbor_fractions(SCENES, 5)
    examples = [SCENES.read(example)[1] for example in SCENES.splits["train"]]
    sky, grass = CLASSES.names.index("sky"), CLASSES.names.index("grass")
    count = sum((labels == grass).sum() for labels in examples)
    above = sum(((labels[2:] == grass) & (labels[:-2] == sky)).sum() for labels in examples)
    assert fractions[grass, sky, 0, 2] == pytest.approx(above / count)
    assert fractions[grass, grass, 2, 2] == pytest.approx(1)
    assert fractions[sky, grass, 0, 2] == 0  # no grass above the sky


def test_command(finished_run, capsys, monkeypatch, small_scenes):
    monkeypatch.setattr(scene_contexts, "run_dataset", lambda run: small_scenes)
    monkeypatch.setattr(DPN, "triple_penalty_sign", lambda model, inputs: 1)
    scene_contexts.main(finished_run)
    out = capsys.readouterr().out
    assert "tyre: car above" in out and "area under the ROC curve: " in out
    monkeypatch.setattr(DPN, "triple_penalty_sign", lambda model, inputs: 0)
    with pytest.raises(ValueError, match="depends on the position"):
        scene_contexts.main(finished_run)
