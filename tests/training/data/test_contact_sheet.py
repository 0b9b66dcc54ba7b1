import numpy as np
import pytest

from keras_dpn import viz
from training.configs.schema import Augmentation
from training.data.contact_sheet import contact_sheet, show_labels
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.generated.scenes import CLASSES, ScenesDataset

CROP = Augmentation((48, 64), (0.75, 1.5), True, 0.1, 0.2, 0.2)


@pytest.fixture(scope="module")
def scenes():
    return ScenesDataset({"train": 4}, size=(48, 64))


def test_the_same_seed_gives_the_same_sheet_and_epochs_differ(scenes):
    first, again, other = (
        contact_sheet(scenes, "train", CROP, rows=1, columns=2, seed=0, epoch=epoch)
        for epoch in (1, 1, 2)
    )
    assert first.dtype == np.uint8 and first.shape[0] > 48 and first.shape[1] > 4 * 64
    assert (first == viz.IGNORE_COLOR).all(axis=-1)[-30:].any()  # the legend names padding, too
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_clips_are_shown_as_images():
    clips = MovingScenesDataset({"train": 1}, size=(48, 64), frames=2)
    sheet = contact_sheet(clips, "train", CROP, rows=2, columns=1, seed=0)
    assert sheet.shape[0] > 2 * 48


def test_labels_are_next_to_the_image():
    tile = show_labels(np.full((1, 1, 3), 99.6), np.array([[1]]), CLASSES)
    np.testing.assert_array_equal(tile, [[[100] * 3, CLASSES.colors[1]]])


@pytest.mark.parametrize("options", [{"rows": 0}, {"columns": 0}])
def test_invalid_sizes(scenes, options):
    with pytest.raises(ValueError, match="`rows` and `columns`"):
        contact_sheet(scenes, "train", CROP, seed=0, **({"rows": 1, "columns": 1} | options))
