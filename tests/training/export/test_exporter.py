import json

import pytest

from training.evaluation.results import Evaluation
from training.evaluation.scores import HeadScores
from training.export.exporter import describe, read_calibration_images, read_scores


def test_scores_of_all_evaluations_by_split_and_head(tmp_path):
    for split, miou in (("val", 0.25), ("test", 0.5)):
        heads = (HeadScores(name="unary"), HeadScores(name="final", miou=miou, accuracy=0.75))
        Evaluation(split=split, heads=heads).save(tmp_path / f"evaluation_{split}.json")
    scores = read_scores(tmp_path)
    assert {split: list(heads) for split, heads in scores.items()} == {
        split: ["unary", "final"] for split in ("test", "val")
    }
    assert scores["test"]["final"] == {
        "miou": 0.5,
        "accuracy": 0.75,
        "mean_accuracy": None,
        "frequency_weighted_iou": None,
    }
    (tmp_path / "config.json").write_text(json.dumps({"seed": 7}))
    assert describe(tmp_path) == {"scores": scores, "config": {"seed": 7}}


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="expected a folder of images, received one without"):
        read_calibration_images(tmp_path)
