import json

import numpy as np
import pytest

from keras_dpn import metrics
from training.evaluation import comparison as script
from training.evaluation.comparison import Counts, compare, load_counts
from training.evaluation.results import write_evaluation


def confusions(right, images=6):
    """Ten pixels of each of two classes an image, so many of them right; image 0 is the hardest."""
    hits = np.minimum(right + np.arange(images), 10)
    return np.stack([np.diag([h, h]) + np.diag([10 - h, 10 - h])[::-1] for h in hits])


def evaluation(stages, names=None):
    count = len(next(iter(stages.values())))
    names = names or [f"image{i}" for i in range(count)]
    return {
        "split": "val",
        "images": count,
        "stages": [{"name": name} for name in stages],
        "per_image": {"names": names, "confusions": stages},
    }


@pytest.fixture
def runs(tmp_path):
    """Two runs' directories; the second one's images are in another order."""
    first = evaluation({"unary": confusions(2), "final": confusions(3)})
    back = [f"image{i}" for i in range(5, -1, -1)]
    second = evaluation({"final": confusions(5)[::-1]}, back)
    for name, found in (("a", first), ("b", second)):
        write_evaluation(tmp_path / name / "evaluation_val.json", found)
    return tmp_path


def test_evaluations_are_found_by_run_stage_and_file(runs):
    last = load_counts(str(runs / "a"), "val")
    np.testing.assert_array_equal(last.confusions, confusions(3))
    assert last.names[0] == "image0"
    unary = load_counts(f"{runs / 'a'}:unary", "val")
    np.testing.assert_array_equal(unary.confusions, confusions(2))
    file = load_counts(f"{runs / 'a' / 'evaluation_val.json'}:unary", "test")
    np.testing.assert_array_equal(file.confusions, confusions(2))


def test_images_are_paired_by_name(runs):
    first, second = (load_counts(str(runs / name), "val") for name in "ab")
    found = compare(first, second)
    expected = metrics.paired_bootstrap(confusions(3), confusions(5))
    assert {key: found[key] for key in expected} == expected
    change = [image["second"] - image["first"] for image in found["images"]]
    assert change == sorted(change, reverse=True)
    images = {image["name"]: image for image in found["images"]}
    assert images["image0"]["first"] == pytest.approx(metrics.mean_iou(confusions(3)[0]))
    assert images["image0"]["second"] == pytest.approx(metrics.mean_iou(confusions(5)[0]))


def test_the_script_prints_each_against_the_first(runs, capsys):
    out = runs / "compared.json"
    a, b = str(runs / "a"), str(runs / "b")
    script.main((f"{a}:unary", a, b), samples=100, changed=1, out=out)
    written = json.loads(out.read_text())
    assert written["first"] == f"{a}:unary" and list(written["compared"]) == [a, b]
    assert written["compared"][b]["difference"] > written["compared"][a]["difference"] > 0
    assert len(written["compared"][b]["images"]) == 6
    printed = capsys.readouterr().out
    assert "6 images of val" in printed and "95% interval" in printed
    difference = 100 * written["compared"][b]["difference"]
    assert f"{difference:+.2f}" in printed and "mIoU before" in printed
    script.main((a, b), samples=100, changed=0)
    assert "mIoU before" not in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(runs):
    counts = Counts("a", ["x", "y"], confusions(3, 2))
    others = [
        (
            Counts("b", ["x", "z"], confusions(3, 2)),
            "a and b are not of the same images: y.*2 such",
        ),
        (Counts("b", ["x", "y"], np.ones((2, 3, 3), int)), "have 2 and 3 classes"),
        (Counts("b", ["x", "y"], confusions(3, 2) * [[[1], [2]]]), "other true labels.*x"),
    ]
    for other, message in others:
        with pytest.raises(ValueError, match=message):
            compare(counts, other)
    with pytest.raises(ValueError, match="two evaluations or more.*1"):
        script.main((str(runs / "a"),))
    with pytest.raises(ValueError, match="evaluation_test.npz: no such file.*--split test"):
        load_counts(str(runs / "a"), "test")
    with pytest.raises(ValueError, match=r"one of the stages \['unary', 'final'\].*'joint'"):
        load_counts(f"{runs / 'a'}:joint", "val")
    with pytest.raises(ValueError, match="nowhere.npz: no such file"):
        load_counts(str(runs / "nowhere:final"), "val")
