import numpy as np
import pytest
from scipy import stats

from keras_dpn import metrics


def predictions(images=40, classes=3, better=0.0, seed=0):
    """Confusion matrices of two predictions; the second one has `better` more of its pixels right.

    Images differ in what they show and in how hard they are.
    """
    rng = np.random.default_rng(seed)
    first, second = np.zeros((2, images, classes, classes), int)
    for i in range(images):
        truth = rng.multinomial(200, rng.dirichlet(np.ones(classes)))
        share = rng.uniform(0.5, 0.8)
        for found, right in ((first, share), (second, share + better)):
            for c in range(classes):
                wrong = np.full(classes, (1 - right) / (classes - 1))
                wrong[c] = right
                found[i, c] = rng.multinomial(truth[c], wrong)
    return first, second


def test_the_whole_is_the_miou_of_all_images():
    first, second = predictions()
    found = metrics.paired_bootstrap(first, second, samples=10)
    assert found["first"] == pytest.approx(metrics.mean_iou(first.sum(0)))
    assert found["second"] == pytest.approx(metrics.mean_iou(second.sum(0)))
    assert found["difference"] == pytest.approx(found["second"] - found["first"])


def test_the_interval_is_scipys():
    first, second = predictions(better=0.02)

    def difference(images):
        return metrics.mean_iou(second[images].sum(0)) - metrics.mean_iou(first[images].sum(0))

    slow = stats.bootstrap(
        (np.arange(len(first)),),
        difference,
        vectorized=False,
        method="percentile",
        n_resamples=3000,
        rng=1,
    )
    found = metrics.paired_bootstrap(first, second)
    width = slow.confidence_interval.high - slow.confidence_interval.low
    assert found["interval"] == pytest.approx(tuple(slow.confidence_interval), abs=0.07 * width)
    wins = np.mean(slow.bootstrap_distribution > 0)
    assert found["wins"] == pytest.approx(wins, abs=0.03)


def test_a_large_difference_is_told_from_none():
    better = metrics.paired_bootstrap(*predictions(better=0.1))
    assert better["interval"][0] > 0 and better["wins"] == 1
    same = metrics.paired_bootstrap(*predictions()[:1] * 2)
    assert same["interval"] == (0, 0) and same["wins"] == 0.5
    low, high = metrics.paired_bootstrap(*predictions())["interval"]
    assert low < 0 < high


def test_nineteen_of_twenty_intervals_hold_the_truth():
    found = [metrics.paired_bootstrap(*predictions(seed=s), samples=400) for s in range(200)]
    held = sum(low <= 0 <= high for low, high in (f["interval"] for f in found))
    assert 180 <= held <= 199


def test_frames_that_are_alike_count_once():
    first, second = predictions(images=12, better=0.03)
    video = [np.repeat(x, 5, axis=0) for x in (first, second)]
    pictures = metrics.paired_bootstrap(first, second)
    blocks = metrics.paired_bootstrap(*video, block=5)
    assert blocks["interval"] == pytest.approx(pictures["interval"])
    assert blocks["difference"] == pytest.approx(pictures["difference"])
    low, high = metrics.paired_bootstrap(*video)["interval"]
    assert high - low < 0.6 * (pictures["interval"][1] - pictures["interval"][0])


def test_a_last_block_may_be_short_and_classes_absent():
    first, second = predictions(images=7, classes=3)
    first, second = (np.pad(x, [(0, 0), (0, 1), (0, 1)]) for x in (first, second))
    found = metrics.paired_bootstrap(first, second, block=3, samples=50)
    assert found["first"] == pytest.approx(metrics.mean_iou(first.sum(0)))
    assert np.isfinite(found["interval"]).all()


def test_the_same_seed_gives_the_same_draws():
    pair = predictions()
    assert metrics.paired_bootstrap(*pair, seed=3) == metrics.paired_bootstrap(*pair, seed=3)
    assert metrics.paired_bootstrap(*pair, seed=3) != metrics.paired_bootstrap(*pair, seed=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"second": np.ones((4, 2, 2))}, "`first` and `second`.*same N images.*4, 2, 2"),
        ({"first": np.ones((2, 2)), "second": np.ones((2, 2))}, "`first` and `second`"),
        ({"block": 0}, "`block`.*0"),
        ({"block": 5}, "`block`.*two blocks.*5 for 5 images"),
        ({"samples": 0}, "`samples`"),
        ({"confidence": 95}, "`confidence`.*between 0 and 1.*95"),
    ],
)
def test_bad_arguments(arguments, message):
    pair = {"first": np.ones((5, 2, 2), int), "second": np.ones((5, 2, 2), int)}
    with pytest.raises(ValueError, match=message):
        metrics.paired_bootstrap(**pair | arguments)
