import json
from dataclasses import replace

import numpy as np
import pytest

from keras_dpn.inference import InferenceSettings
from training.evaluation.results import Evaluation, Subject, load_counts
from training.evaluation.scores import (
    CalibrationScores,
    ConsistencyScores,
    HeadScores,
    ObjectScores,
    TrimapScores,
)

# An evaluation as version 0.1 wrote it.
EARLIER = {
    "dataset": "folder",
    "split": "val",
    "images": 2,
    "official": None,
    "models": 1,
    "scales": [0.75, 1.0],
    "horizontal_flip": True,
    "tile": None,
    "overlap": 256,
    "crf": None,
    "stages": [
        {
            "name": "final",
            "miou": 0.25,
            "accuracy": 0.5,
            "mean_accuracy": 0.5,
            "frequency_weighted_iou": None,
            "iou": [0.25, None],
            "confusion": [[3, 1], [4, 0]],
            "objects": {
                "ta": 0.5,
                "la": None,
                "ba": 0.25,
                "per_class": {"ta": [0.5, None], "la": [None, None], "ba": [0.25, None]},
                "box_threshold": 0.5,
                "boundary_tolerance": 0.0075,
            },
            "calibration": {"ece": 0.1, "pixels": [8], "accuracy": [0.5], "confidence": [0.6]},
            "trimap": {"around": "void", "widths": [1], "miou": [None], "accuracy": [0.5]},
            "consistency": {"miou": 0.75, "pixels": 9},
        }
    ],
    "precision": "mixed_bfloat16",
}


def write_earlier(directory, values):
    path = directory / "evaluation_val.json"
    path.write_text(json.dumps(values))
    confusions = np.array([[[3, 1], [0, 0]], [[0, 0], [4, 0]]])
    np.savez_compressed(path.with_suffix(".npz"), names=np.array(["a", "b"]), final=confusions)
    return path


def test_files_of_version_1_are_read(tmp_path):
    evaluation = Evaluation.load(write_earlier(tmp_path, EARLIER))
    assert evaluation.settings == InferenceSettings(scales=(0.75, 1.0), horizontal_flip=True)
    assert (evaluation.dataset, evaluation.split, evaluation.num_images) == ("folder", "val", 2)
    assert (evaluation.precision, evaluation.subject) == ("mixed_bfloat16", None)
    assert evaluation.image_names == ("a", "b")
    head = evaluation.head("final")
    assert head.iou == [0.25, None] and head.confusions.sum(axis=0).tolist() == head.confusion
    assert isinstance(head.objects, ObjectScores) and head.value("objects.ba") == 0.25
    assert head.calibration == CalibrationScores(0.1, [8], [0.5], [0.6])
    assert head.trimap == TrimapScores("void", [1], [None], [0.5])
    assert head.consistency == ConsistencyScores(0.75, 9)
    stages = evaluation.to_json().pop("heads")
    assert json.dumps(stages) == json.dumps(EARLIER["stages"]), "also the order"
    mirrored = {key: value for key, value in EARLIER.items() if key != "horizontal_flip"}
    path = write_earlier(tmp_path, mirrored | {"mirror": True})
    assert Evaluation.load(path).settings.horizontal_flip


def test_a_saved_evaluation_is_the_same_when_loaded(tmp_path):
    evaluation = Evaluation.load(write_earlier(tmp_path, EARLIER))
    evaluation = replace(evaluation, subject=Subject(tmp_path, "unary", None), crf={"filter": "x"})
    path = tmp_path / "new" / "scores.json"
    evaluation.save(path)
    loaded = Evaluation.load(path)
    assert loaded == evaluation
    np.testing.assert_array_equal(loaded.head().confusions, evaluation.head().confusions)
    assert sorted(file.name for file in path.parent.iterdir()) == ["scores.json", "scores.npz"]
    written = json.loads(path.read_text())
    assert written["version"] == 2 and "stages" not in written
    assert (written["run"], written["stage"], written["output"]) == (str(tmp_path), "unary", None)
    without = Evaluation.load(path, with_counts=False)
    assert without == replace(evaluation, image_names=()) and without.head().confusions is None


def test_scores_that_nobody_counted_are_none_and_left_out():
    head = HeadScores.from_json({"name": "unary", "miou": 0.5, "seconds": 3.0})
    assert head.value("miou") == 0.5 and head.value("objects.ta") is None
    assert head.to_json() == {
        "name": "unary",
        "miou": 0.5,
        "accuracy": None,
        "mean_accuracy": None,
        "frequency_weighted_iou": None,
        "iou": (),
        "confusion": (),
    }


def test_heads_are_selected_by_name():
    heads = tuple(HeadScores(name=name) for name in ("unary", "final", "final+crf"))
    evaluation = Evaluation(heads=heads)
    assert evaluation.head() is heads[2] and evaluation.head("unary") is heads[0]
    assert evaluation.select(["final+crf", "final"]).heads == heads[1:]
    with pytest.raises(ValueError, match=r"one of the heads \['unary', .*, received 'joint'"):
        evaluation.head("joint")


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "scores.json"
    with pytest.raises(ValueError, match="scores.json: no such file; `keras-dpn evaluate`"):
        Evaluation.load(path)
    for values, message in (
        ({"version": 3, "heads": []}, "expected version 2 or lower, received 3"),
        ({"dataset": "folder"}, "with the scores of its `heads`"),
        ({"heads": [{"name": "final", "objects": {"ta": 1}}]}, "Expected the scores of a head"),
        ([], "expected an evaluation"),
        ({"version": "2", "heads": []}, "expected an evaluation"),
        ({"heads": 3}, "expected an evaluation"),
        ({"heads": [], "run": 3}, "expected an evaluation"),
    ):
        path.write_text(json.dumps(values))
        with pytest.raises(ValueError, match=f"scores.json: .*{message}"):
            Evaluation.load(path)


def test_counts_that_are_none_are_named(tmp_path):
    path = write_earlier(tmp_path, EARLIER)
    counts = path.with_suffix(".npz")
    content = counts.read_bytes()
    np.savez(other := tmp_path / "objects.npz", names=np.array([{}], object))
    for wrong in (b"", b"no archive", content[: len(content) // 2], other.read_bytes()):
        counts.write_bytes(wrong)
        with pytest.raises(ValueError, match=f"{counts.name}: expected the counts"):
            Evaluation.load(path)


def test_counts_are_found_by_run_head_and_file(tmp_path):
    path = write_earlier(tmp_path, EARLIER)
    for source in (tmp_path, f"{tmp_path}:final", path, f"{path}:final"):
        title, names, confusions, split = load_counts(str(source), "val")
        assert (title, list(names), confusions.shape) == (str(source), ["a", "b"], (2, 2, 2))
        assert split == EARLIER["split"]
    with pytest.raises(ValueError, match="evaluation_test.npz: no such file.*--split test"):
        load_counts(str(tmp_path), "test")
    with pytest.raises(ValueError, match=r"one of the heads \['final'\], received 'joint'"):
        load_counts(f"{tmp_path}:joint", "val")
    with pytest.raises(ValueError, match="nowhere.npz: no such file"):
        load_counts(str(tmp_path / "nowhere:final"), "val")
    other = {**EARLIER, "stages": [{**EARLIER["stages"][0], "name": "unary"}]}
    with pytest.raises(ValueError, match="no counts of 'unary'"):
        load_counts(str(write_earlier(tmp_path, other)), "val")
