import json
from dataclasses import asdict

import numpy as np
import pytest

from keras_dpn import metrics
from training.evaluation.comparison import Comparison, ImageChange, add_counts, compare
from training.evaluation.results import Counts

NAMES = [f"image{i}" for i in range(6)]


def confusions(right, images=6):
    """Ten pixels of each of two classes per image, some of them right; image 0 is the hardest."""
    hits = np.minimum(right + np.arange(images), 10)
    return np.stack([np.diag([h, h]) + np.diag([10 - h, 10 - h])[::-1] for h in hits])


FIRST = Counts("a", NAMES, confusions(3))
SECOND = Counts("b", NAMES[::-1], confusions(5)[::-1])


def test_images_are_paired_by_name():
    comparison = compare(FIRST, SECOND)
    expected = metrics.paired_bootstrap(confusions(3), confusions(5))
    assert comparison.win_rate == expected.pop("wins")
    assert {key: getattr(comparison, key) for key in expected} == expected
    assert comparison.is_significant
    changes = [image.difference for image in comparison.images]
    assert changes == sorted(changes, reverse=True)
    images = {image.name: image for image in comparison.images}
    assert images["image0"].first == pytest.approx(metrics.mean_iou(confusions(3)[0]))
    assert images["image0"].second == pytest.approx(metrics.mean_iou(confusions(5)[0]))


def test_options_reach_the_bootstrap():
    options = {"resamples": 50, "block_size": 2, "confidence": 0.5, "seed": 3}
    expected = metrics.paired_bootstrap(confusions(3), confusions(5), 2, 50, 0.5, 3)
    assert compare(FIRST, SECOND, **options).interval == expected["interval"]


def test_counts_of_several_networks_are_added_by_name():
    total = add_counts([FIRST, SECOND])
    assert total.names == NAMES
    np.testing.assert_array_equal(total.confusions, confusions(3) + confusions(5))


def test_json_is_read_again_also_that_of_earlier_versions():
    comparison = compare(FIRST, SECOND, resamples=50)
    values = json.loads(json.dumps(comparison.to_json()))
    assert Comparison.from_json(values) == comparison and "seeds" not in values
    assert values["images"][0] == asdict(comparison.images[0])
    earlier = {"first": 0.5, "second": 0.6, "difference": 0.1, "interval": [0, 0.2], "wins": 0.9}
    earlier |= {"seeds": [0, 7], "images": [{"name": "x", "first": 0.1, "second": 0.2}]}
    assert Comparison.from_json(earlier) == Comparison(
        0.5, 0.6, 0.1, (0, 0.2), 0.9, (ImageChange("x", 0.1, 0.2),), (0, 7)
    )


@pytest.mark.parametrize(
    ("names", "second", "message"),
    [
        (["x", "z"], confusions(3, 2), "a and b are not of the same images: .* has y .2 such"),
        (["x", "y"], np.ones((2, 3, 3), int), "have 2 and 3 classes"),
        (["x", "y"], confusions(3, 2) * [[[1], [2]]], "other true labels.*x"),
    ],
)
def test_what_cannot_be_compared_is_refused(names, second, message):
    with pytest.raises(ValueError, match=message):
        compare(Counts("a", ["x", "y"], confusions(3, 2)), Counts("b", names, second))
