import numpy as np
import pytest
from scipy import ndimage

from keras_dpn.receptive_field import theoretical_field
from training.configs.recipes import RECIPES
from training.data.generated.houses import (
    BASE_SIZE,
    CLASSES,
    GRASS,
    ROOF,
    WALL,
    HousesDataset,
    HousesScene,
)
from training.engine.networks import build_model

STRIDE = 4  # of the recipes' maps
REACH = 8  # pixels that a cell sees on each side of its middle
BLUR = 3  # pixels that the lens mixes


@pytest.fixture(scope="module")
def pictures():
    dataset = HousesDataset({"train": 50}, seed=1)
    return [dataset.read(example) for example in dataset.splits["train"]]


def parts(labels, part):
    """Boxes (top, left, bottom, right) of all roofs or walls, from left to right."""
    regions, _ = ndimage.label(labels == part)
    boxes = ndimage.find_objects(regions)
    return sorted(((y.start, x.start, y.stop, x.stop) for y, x in boxes), key=lambda box: box[1])


def houses(labels):
    """Pairs of a roof and the wall that belongs to it."""
    return list(zip(parts(labels, ROOF), parts(labels, WALL), strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_the_look_says_nothing(seed):
    """A picture is the same to the last pixel whichever of a house's parts is called its roof."""
    (image, labels), (other, its_labels) = (
        HousesScene(BASE_SIZE, np.random.default_rng(seed), parts).draw()
        for parts in [(ROOF, WALL), (WALL, ROOF)]
    )
    np.testing.assert_array_equal(image, other)
    changed = its_labels != labels
    np.testing.assert_array_equal(changed, labels >= ROOF)
    assert changed.any()


def test_houses_have_a_roof_above_a_wall_in_columns_of_their_own(pictures):
    for _, labels in pictures:
        (roof, wall), (next_roof, next_wall) = houses(labels)
        for one, other in ((roof, wall), (next_roof, next_wall)):
            assert one[2] < other[0]  # never the other way round
            assert abs(one[1] + one[3] - other[1] - other[3]) <= 2  # one middle
        assert max(roof[3], wall[3]) < min(next_roof[1], next_wall[1])


def test_roofs_and_walls_have_the_same_sizes_and_colours(pictures):
    roofs, walls = (
        np.array(
            [
                (bottom - top, right - left, *image[top:bottom, left:right].mean((0, 1)))
                for image, labels in pictures
                for top, left, bottom, right in parts(labels, part)
            ]
        )
        for part in (ROOF, WALL)
    )
    differences = roofs - walls  # heights and widths, mean red, green and blue
    error = differences.std(axis=0) / np.sqrt(len(differences))
    assert (np.abs(differences.mean(axis=0)) < 4 * error).all()
    assert (np.abs(differences[:, :2]).max(axis=0) > (2, 5)).all()
    assert (differences[:, 2:].std(axis=0) < roofs[:, 2:].std(axis=0) / 2).all()  # one paint


def test_a_short_sight_sees_one_part_alone_on_grass():
    recipe = RECIPES["piecewise/houses/above"]
    assert recipe.model.scales == (1.0,) and all(k == 1 for k, _ in recipe.model.block6)
    trunk = build_model(recipe, len(CLASSES.names)).get_layer("unary_vgg16")
    field = theoretical_field(trunk, trunk.layers[-1].name, (20, 24), BASE_SIZE)
    pixel = 20.5 * STRIDE  # where the cell's label is from
    assert max(pixel - field.rows[0], field.rows[1] - pixel) == REACH


def test_parts_are_further_apart_than_a_short_sight(pictures):
    for _, labels in pictures:
        for roof, wall in houses(labels):
            assert wall[0] - roof[2] >= REACH + BLUR


def test_whoever_looks_all_around_sees_the_whole_house_and_grass(pictures):
    """So "surrounding" sees the same from the roof as from the wall."""
    boxes = [
        RECIPES[f"piecewise/houses/{name}"].model.relations[name]
        for name in ("surrounding", "above")
    ]
    (top, left, bottom, right), above = boxes
    assert (top, left) == (-bottom, -right) and above == (top, left, 0, right)
    dy, dx = (int(n * min(BASE_SIZE)) for n in (bottom, right))
    for _, labels in pictures:
        for roof, wall in houses(labels):
            assert wall[2] - roof[0] + REACH <= dy
            inside = slice(roof[0], wall[2]), slice(min(roof[1], wall[1]), max(roof[3], wall[3]))
            seen = [
                slice(side.start - n - REACH - BLUR, side.stop + n + REACH + BLUR)
                for side, n in zip(inside, (dy, dx), strict=True)
            ]
            assert seen[0].start >= 0 and seen[0].stop <= BASE_SIZE[0]
            alone = labels.copy()
            alone[inside] = GRASS
            assert (alone[seen[0], max(seen[1].start, 0) : seen[1].stop] == GRASS).all()
            assert set(np.unique(labels[inside])) == {GRASS, ROOF, WALL}


@pytest.mark.parametrize("size", [(48, 64), (192, 160), (320, 384), (100, 333)])
def test_other_sizes(size):
    for seed in range(3):
        image, labels = HousesScene(size, np.random.default_rng(seed)).draw()
        assert image.shape == (*size, 3) and labels.shape == size
        assert len(houses(labels)) == 2
