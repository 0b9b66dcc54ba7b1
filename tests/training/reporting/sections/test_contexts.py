import numpy as np
import pytest

from keras_dpn.models import DPN, SpatialTemporalDPN
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.generated.scenes import CLASSES, RELATIONS, ScenesDataset
from training.reporting.images import Picture, read_pictures
from training.reporting.sections import contexts

pytestmark = pytest.mark.usefixtures("eager")

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype="uint8")
PICTURE = Picture("x", IMAGE, np.zeros((24, 32), "uint8"))


SCENES = ScenesDataset({"train": 8}, size=(48, 64))


class Unplanted(ScenesDataset):
    name = "folder"


def small_model(network=DPN, **options):
    return network(
        CLASSES.num_classes,
        width=0.0625,
        trunk="large_fov",
        fc_width=8,
        triple_window=3,
        context_window=5,
        mixtures=2,
        pairwise_stride=8,
        **options,
    )


def plant(model, sign):
    """Gives b13 every planted relation: the neighbour on its side makes the label likely."""
    labels, n = CLASSES.num_classes, 5
    y, x = np.mgrid[:n, :n] - n // 2
    kernel = np.zeros((n, n, labels, labels, 2), "float32")
    for relation in RELATIONS:
        u, v = (CLASSES.names.index(name) for name in (relation.label, relation.neighbour))
        kernel[..., v, u, :] = -1.0 * contexts.SIDES[relation.direction](y, x)[..., None]
    model.get_layer("b13").kernel.assign(sign * kernel.reshape(n, n, labels, labels * 2))
    model.get_layer("b12").a.assign(sign)


@pytest.mark.parametrize("sign", [1, -1])
def test_planted_relations_are_found_whichever_sign_b12_has_learned(sign):
    model = small_model()
    plant(model, sign)
    page = contexts.context_plots(model, SCENES, PICTURE)
    assert page.count(">found<") == len(RELATIONS)
    assert "not found" not in page
    assert "exist: 1.00." in page  # the area under the curve


def test_relations_that_are_missing_are_called_so():
    model = small_model(context_noise=0.0)
    page = contexts.context_plots(model, SCENES, PICTURE)
    assert page.count(">not found<") == len(RELATIONS)
    assert "exist: 0.50." in page
    page = contexts.context_plots(model, Unplanted(), PICTURE)
    assert "planted" not in page


@pytest.mark.parametrize("linking", ["flow", "static"])
def test_contexts_of_each_frame(linking, monkeypatch):
    """What is planted in a network for pictures is found in one for clips that starts from it."""
    dpn, moving = small_model(), MovingScenesDataset({"train": 2}, size=(48, 64), frames=3)
    plant(dpn, -1)
    model = small_model(SpatialTemporalDPN, linking=linking)
    model.start_from(dpn)
    (picture,) = read_pictures(moving, "train", 1, frames=3)
    shown = {}
    for plot in ("plot_contexts", "plot_compatibility"):
        draw = getattr(contexts.viz, plot)

        def record(maps, *args, plot=plot, draw=draw, **kwargs):
            shown.setdefault(plot, maps)
            return draw(maps, *args, **kwargs)

        monkeypatch.setattr(contexts.viz, plot, record)
    page = contexts.context_plots(model, moving, picture)
    assert page.count(">found<") == len(RELATIONS)
    maps, matrices = shown["plot_contexts"], shown["plot_compatibility"]
    assert maps.shape == (3, 11, 11, 5, 5) and matrices.shape == (3, 11, 11)
    assert (np.abs(maps[1]).max(), np.abs(matrices[1]).max()) > (0.1, 0.1)
    assert not maps[[0, 2]].any() and not matrices[[0, 2]].any()


def test_b12_sign_is_that_of_what_it_answers():
    b12 = (model := small_model()).get_layer("b12")
    assert contexts.b12_sign(model, PICTURE) == 1
    b12.a.assign(-2.0)
    assert contexts.b12_sign(model, PICTURE) == -1
    b12.w_position.assign(-1e6)  # outweighs the colours
    assert contexts.b12_sign(model, PICTURE) == 1
    b12.b.assign(1e3)  # the same for every label, says nothing
    assert contexts.b12_sign(model, PICTURE) == 1


def test_contexts_are_not_judged_where_the_sign_of_b12_depends_on_the_place():
    (model := small_model()).get_layer("b12").w_position.assign(-1.0)
    half = np.zeros_like(IMAGE)
    half[8:16, :16] = 255  # the right half is of one colour: there the position alone decides
    page = contexts.context_plots(model, SCENES, Picture("x", half, PICTURE.labels))
    assert "With care" in page and "planted" not in page
    model.get_layer("b12").w_position.assign(0.0)
    assert "With care" not in contexts.context_plots(model, SCENES, PICTURE)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("above", 4.5), ("below", 19.5), ("left", 10.5), ("right", 13.5), ("around", 12.0)],
)
def test_side_mean_takes_one_side(direction, expected):
    context = np.arange(25.0).reshape(5, 5)
    context[2, 2] = 1e6  # the pixel itself lies on no side
    assert contexts.side_mean(context, direction) == pytest.approx(expected)


def test_side_mean_of_a_single_position():
    assert contexts.side_mean(np.array([[3.0]]), "above") == 3.0


def test_neighbour_shares_count_true_neighbours():
    shares = contexts.neighbour_shares(SCENES, 5)
    examples = [SCENES.read(example)[1] for example in SCENES.splits["train"]]
    sky, grass = CLASSES.names.index("sky"), CLASSES.names.index("grass")
    count = sum((labels == grass).sum() for labels in examples)
    above = sum(((labels[2:] == grass) & (labels[:-2] == sky)).sum() for labels in examples)
    assert shares[grass, sky, 0, 2] == pytest.approx(above / count)
    assert shares[grass, grass, 2, 2] == pytest.approx(1)
    assert shares[sky, grass, 0, 2] == 0  # no grass above the sky
