import json
import re

import pytest

from training import report as script
from training.report import write_report


@pytest.fixture(scope="module")
def page(finished_run, small_scenes):
    other = {"split": "test", "images": 3, "stages": [one_stage(small_scenes)]}
    path = finished_run / "evaluation_test.json"
    path.write_text(json.dumps(other))
    written = write_report(finished_run, small_scenes, examples=2)
    path.unlink()
    assert written == finished_run / "report.html"
    return written.read_text(encoding="utf-8")


def one_stage(dataset):
    scores = dict.fromkeys(("miou", "accuracy", "mean_accuracy", "frequency_weighted_iou"), 0.4321)
    return {"name": "final", "iou": [None] * dataset.classes.num_classes, **scores}


def test_page_is_self_contained(page):
    references = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)|@import', page)
    assert references
    assert all((a or b).startswith("data:") for a, b in references)
    assert "http" not in page
    assert "<script" not in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_page_has_all_parts(page, small_scenes):
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Scores on val after each stage",
        "Scores on test, 3 pictures",
        "What each stage changed",
        "The trained model, step by step",
        "Label contexts",
        "Training",
        "What is taken for what",
        "Settings",
    ]
    for name in small_scenes.classes.names:
        assert f"<th>{name}</th>" in page
    assert "12,345" in page  # parameters trained
    assert "43.2" in page  # the other split
    assert "tyre: car above" in page
    assert "joint.learning_rate" in page
    assert "$" not in page


def test_page_shows_each_stage_of_each_picture(page):
    strips = re.findall(r'<div class="strip.*?(?=<div class="strip|<h2>)', page, re.DOTALL)
    assert len(strips) == 4  # two pictures: the stages' models, and the model's own stages
    assert strips[0].count("<figure>") == 2 + 2
    assert strips[0].count("<img") == 2 + 2 + 1
    assert strips[2].count("<figure>") == 2 + 4
    assert strips[2].count("<img") == 2 + 4 + 3


def test_tags_are_balanced(page):
    for tag in ("div", "table", "tr", "th", "td", "figure", "ul", "li", "p", "span", "small"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_nothing_is_left_beside_the_page(page, finished_run):
    assert not [p for p in finished_run.iterdir() if "partial" in p.name]


def test_a_run_without_results_is_refused(tmp_path, small_scenes):
    with pytest.raises(ValueError, match="results.json: no such file"):
        write_report(tmp_path, small_scenes)


def test_a_split_without_pictures_is_refused(finished_run, small_scenes):
    with pytest.raises(ValueError, match="`split`"):
        write_report(finished_run, small_scenes, split="none")
    with pytest.raises(ValueError, match="0 were asked for"):
        write_report(finished_run, small_scenes, examples=0)


def test_script_prints_the_path(finished_run, small_scenes, monkeypatch, capsys):
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    script.main(work_dir=finished_run, examples=1)
    assert str(finished_run / "report.html") in capsys.readouterr().out
