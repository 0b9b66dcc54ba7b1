import numpy as np
import pytest
from scipy import ndimage

from training.data.generated.scenes import CLASSES, CONFUSABLE, RELATIONS, ScenesDataset
from training.data.registry import load_dataset

STEPS = {"above": (-1, 0), "below": (1, 0), "left": (0, -1), "right": (0, 1)}


@pytest.fixture(scope="module")
def images():
    dataset = ScenesDataset({"train": 120}, seed=1)
    return [dataset.read(example) for example in dataset.splits["train"]]


def objects(images, name):
    """Each connected region of a class: (image, labels, mask)."""
    for image, labels in images:
        regions, count = ndimage.label(labels == CLASSES.names.index(name))
        for number in range(1, count + 1):
            yield image, labels, regions == number


def neighbour(labels, mask, direction):
    """The class next to a region, straight out from its middle; None at the border."""
    y, x = (round(value) for value in ndimage.center_of_mass(mask))
    dy, dx = STEPS[direction]
    while 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]:
        if not mask[y, x]:
            return CLASSES.names[labels[y, x]]
        y, x = y + dy, x + dx
    return None


def fraction(images, name, relation):
    """How often a class's regions have a relation's neighbour in its direction."""
    around = relation.direction == "around"
    directions = STEPS if around else [relation.direction]
    found = [
        all(neighbour(labels, mask, d) == relation.neighbour for d in directions)
        for _, labels, mask in objects(images, name)
    ]
    return np.mean(found)


def test_an_image_depends_on_seed_split_and_index_alone():
    small = ScenesDataset({"val": 2, "train": 3}, seed=5)
    large = ScenesDataset({"train": 9}, seed=5)
    for a, b in zip(small.splits["train"], large.splits["train"][:3], strict=True):
        for x, y in zip(small.read(a), large.read(b), strict=True):
            np.testing.assert_array_equal(x, y)


def test_seeds_splits_and_indices_differ():
    first = ScenesDataset({"train": 2, "val": 1}, seed=5)
    other = ScenesDataset({"train": 1}, seed=6)
    images = [
        first.read(first.splits["train"][0])[0],
        first.read(first.splits["train"][1])[0],
        first.read(first.splits["val"][0])[0],
        other.read(other.splits["train"][0])[0],
    ]
    assert len({image.tobytes() for image in images}) == 4


def test_types_and_sizes():
    dataset = ScenesDataset({"train": 1}, size=(60, 64))
    image, labels = dataset.read(dataset.splits["train"][0])
    assert (image.shape, image.dtype) == ((60, 64, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((60, 64), np.uint8)
    assert list(ScenesDataset().splits) == ["train", "val", "test"]


def test_everything_grows_with_the_size(images):
    dataset = ScenesDataset({"train": 30}, size=(192, 256))
    large = [dataset.read(example)[1] for example in dataset.splits["train"]]
    frequency = np.bincount(np.ravel(large), minlength=11) / np.size(large)
    small = np.stack([labels for _, labels in images])
    expected = np.bincount(small.ravel(), minlength=11) / small.size
    np.testing.assert_allclose(frequency, expected, rtol=0.35)


def test_all_classes_are_common(images):
    shown = np.mean([np.bincount(labels.ravel(), minlength=11) > 0 for _, labels in images], axis=0)
    assert shown.min() > 0.85
    labels = np.stack([labels for _, labels in images])
    assert np.bincount(labels.ravel(), minlength=11).min() / labels.size > 0.005


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.label)
def test_a_class_has_its_relation_and_its_confusable_class_lacks_it(images, relation):
    (other,) = {name for pair in CONFUSABLE if relation.label in pair for name in pair} - {
        relation.label
    }
    assert fraction(images, relation.label, relation) > 0.9
    assert fraction(images, other, relation) < 0.05


@pytest.mark.parametrize("pair", CONFUSABLE, ids=lambda pair: pair[0])
def test_confusable_classes_look_the_same(images, pair):
    looks = []
    for name in pair:
        rows = []
        for image, _, mask in objects(images, name):
            inside = ndimage.binary_erosion(mask, iterations=2)  # the lens blurs the rim
            if inside.any():
                rows.append([*image[inside].mean(0), image[inside].std(), np.sqrt(mask.sum())])
        looks.append(np.array(rows))
    a, b = looks
    # Means that differ by less than a third of the spread between single things.
    np.testing.assert_array_less(abs(a.mean(0) - b.mean(0)), 0.34 * a.std(0))


def test_each_class_has_a_relation():
    assert {relation.label for relation in RELATIONS} == {n for pair in CONFUSABLE for n in pair}
    assert {relation.neighbour for relation in RELATIONS} <= set(CLASSES.names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": {"train": -1}}, "`sizes`"),
        ({"size": (20, 128)}, "`size`"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ScenesDataset(**options)


@pytest.mark.parametrize("name", ["context_scenes", "houses"])
def test_examples_of_other_datasets_are_seeded(name):
    first, again = (load_dataset(name, None, seed=7) for _ in range(2))
    other = load_dataset(name, None, seed=8)
    example = first.splits["val"][3]
    np.testing.assert_array_equal(first.read(example)[0], again.read(example)[0])
    assert not np.array_equal(first.read(example)[0], other.read(example)[0])
