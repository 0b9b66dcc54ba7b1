import numpy as np
import pytest
from scipy import ndimage

from keras_dpn.models import DeepLab, ParseNet
from keras_dpn.receptive_field import theoretical_field
from tests.keras_dpn.support import without_values
from training.data.generated.context_scenes import (
    BASE_SIZE,
    CLASSES,
    GROUNDS,
    POOLS,
    ContextScene,
    ContextScenesDataset,
)


def labelled(labels, names):
    return np.isin(labels, [CLASSES.names.index(name) for name in names])


@pytest.fixture(scope="module")
def pictures():
    dataset = ContextScenesDataset({"train": 120}, seed=1)
    return [dataset.read(example) for example in dataset.splits["train"]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("place", [0, 1], ids=["ground", "pool"])
def test_the_local_look_says_nothing(seed, place):
    """Only the labels of ground or pool change, and pixels at the landmark that tells about it.

    What doesn't see the landmark gives the same answer whatever is right, and can only guess.
    """
    meanings = (GROUNDS, POOLS)[place]
    other = next(iter((GROUNDS, POOLS)[1 - place]))
    landmarks = [(name, other) if place == 0 else (other, name) for name in meanings]
    found = [ContextScene(BASE_SIZE, np.random.default_rng(seed), one).draw() for one in landmarks]
    drawn = np.any([labelled(labels, meanings) for _, labels in found], axis=0)
    near = ndimage.binary_dilation(drawn, iterations=4, structure=np.ones((3, 3)))  # lens blur
    (image, labels), *others = found
    surface = labelled(labels, meanings.values())
    for another, its_labels in others:
        np.testing.assert_array_equal(another[~near], image[~near])
        assert (another != image).any()
        np.testing.assert_array_equal(labelled(its_labels, meanings.values()), surface)
        outside = ~drawn & ~surface
        np.testing.assert_array_equal(its_labels[outside], labels[outside])


def test_the_landmarks_are_always_there_and_tell_the_truth(pictures):
    seen = []
    for _, labels in pictures:
        shown = {CLASSES.names[label] for label in np.unique(labels)}
        for meanings in (GROUNDS, POOLS):
            (landmark,) = shown & set(meanings)
            (surface,) = shown & set(meanings.values())
            assert meanings[landmark] == surface
            assert labelled(labels, [landmark]).sum() > 50
            assert labelled(labels, [surface]).sum() > 500
            seen.append(surface)
    shares = [seen.count(name) / len(pictures) for name in GROUNDS.values()]
    assert min(shares) > 0.2 and 0.35 < seen.count("ice") / len(pictures) < 0.65


def test_ground_and_pool_do_not_go_together(pictures):
    """Neither tells about the other: each landmark is needed."""
    ice = [labelled(labels, ["ice"]).any() for _, labels in pictures]
    for name in GROUNDS.values():
        with_it = [labelled(labels, [name]).any() for _, labels in pictures]
        assert abs(np.corrcoef(ice, with_it)[0, 1]) < 0.3


def columns(labels, names):
    return np.flatnonzero(labelled(labels, names).any(axis=0))


def test_landmarks_are_further_than_networks_see(pictures):
    """No cell below ground or pool is connected to what tells about them."""
    networks = [
        without_values(lambda: ParseNet(len(CLASSES.names), fusion=None, width=0.02)),
        without_values(lambda: DeepLab("largefov", len(CLASSES.names), width=0.02)),
    ]
    reach = 0
    for network in networks:
        field = theoretical_field(network, network.layers[-1].name, (48, 196), BASE_SIZE)
        reach = max(reach, 196 - field.columns[0], field.columns[1] - 196)
    assert 200 < reach < 240
    for _, labels in pictures:
        for meanings in (GROUNDS, POOLS):
            landmark, surface = columns(labels, meanings), columns(labels, meanings.values())
            gap = max(landmark.min() - surface.max(), surface.min() - landmark.max())
            assert gap - 4 > reach  # the lens blurs


@pytest.mark.parametrize("size", [(48, 192), (96, 192), (192, 768), (100, 333)])
def test_other_sizes(size):
    for landmarks in (("fir", "boat"), ("palm", "sledge"), ("volcano", "boat")):
        image, labels = ContextScene(size, np.random.default_rng(4), landmarks).draw()
        assert image.shape == (*size, 3) and labels.shape == size
        names = {"sky", "grass", *landmarks, GROUNDS[landmarks[0]], POOLS[landmarks[1]]}
        assert {CLASSES.names[label] for label in np.unique(labels)} - {"house"} == names


@pytest.mark.parametrize("size", [(47, 384), (96, 191)])
def test_invalid_sizes(size):
    with pytest.raises(ValueError, match="`size`: expected at least"):
        ContextScenesDataset(size=size)
