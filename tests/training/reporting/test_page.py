import dataclasses
import json
import re
import shutil

import keras
import numpy as np
import pytest
from markupsafe import escape

from keras_dpn.classes import Classes
from training.configs.networks import (
    BackboneConfig,
    ContextsConfig,
    LocalConvConfig,
    SpatialTemporalDPNConfig,
)
from training.configs.recipes import RECIPES
from training.configs.serialization import to_json
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.generated.scenes import CLASSES, ScenesDataset
from training.engine.networks import build_model
from training.evaluation.results import Evaluation
from training.evaluation.scores import HeadScores
from training.reporting import media
from training.reporting.page import first_run, write_report
from training.reporting.sections import video
from training.rundir.paths import stage_dir


@pytest.fixture(scope="module")
def page(finished_run, small_scenes):
    trimap = {"around": "void", "widths": [1, 2], "miou": [0.1, 0.2], "accuracy": [0.3, 0.4]}
    stage = {**one_stage(small_scenes), "trimap": trimap}
    other = {"split": "test", "images": 3, "stages": [stage]}
    path = finished_run / "evaluation_test.json"
    path.write_text(json.dumps(other))
    written = write_report([finished_run], small_scenes, num_images=2)
    path.unlink()
    assert written == finished_run / "report.html"
    return written.read_text(encoding="utf-8")


def save_evaluation(run, dataset, names, confusions):
    head = HeadScores(**one_stage(dataset), confusions=confusions)
    evaluation = Evaluation(split="val", num_images=3, heads=(head,), image_names=tuple(names))
    evaluation.save(run / "evaluation_val.json")


def no_plot(figure, alt):
    return media.EmbeddedImage("data:,", "plot")


def one_stage(dataset):
    scores = dict.fromkeys(("miou", "accuracy", "mean_accuracy", "frequency_weighted_iou"), 0.4321)
    return {"name": "final", "iou": [None] * dataset.classes.num_classes, **scores}


def test_page_is_self_contained(page):
    references = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)|@import', page)
    assert references
    assert all((a or b).startswith("data:") for a, b in references)
    assert "http:" not in page and "https:" not in page
    assert "<script" not in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_page_has_all_parts(page, small_scenes):
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Scores on val after each stage",
        "Scores on test, 3 images",
        "What each stage changed",
        "The trained network, head by head",
        "Label contexts",
        "Along object boundaries, on test",
        "Training",
        "Confusion matrix",
        "Settings",
    ]
    for name in small_scenes.classes.names:
        assert f"<th>{name}</th>" in page
    assert "12,345" in page  # parameters trained
    assert "43.2" in page  # the other split
    assert "joint.learning_rate" in page
    assert "calibration error (ECE)" in page and "TA, LA and BA of each class" in page
    assert "{{" not in page and "{%" not in page


def test_page_shows_each_stage_of_each_image(page):
    start = '<div class="comparison-row'
    rows = re.findall(rf"{start}.*?(?={start}|<h2>)", page, re.DOTALL)
    assert len(rows) == 4  # two images: the stages' models, and the trained network's heads
    assert rows[0].count("<figure>") == 2 + 2
    assert rows[0].count("<img") == 2 + 2 * 2 + 1
    assert rows[2].count("<figure>") == 2 + 4
    assert rows[2].count("<img") == 2 + 4 * 2 + 3


@pytest.fixture(scope="module")
def clip_run(tmp_path_factory):
    """The directory and the data set of a run of a network for clips, with one stage."""
    work_dir = tmp_path_factory.mktemp("clips")
    dataset = MovingScenesDataset({"train": 1, "val": 1}, size=(48, 64), frames=3)
    settings = {"width": 0.04, "backbone": BackboneConfig("large_fov", fc_width=8)}
    settings |= {"pairwise_stride": 8, "local_conv": LocalConvConfig(window=3)}
    settings |= {"contexts": ContextsConfig(window=3, mixtures=1)}
    config = RECIPES["dpn-video/moving-scenes"]
    config = dataclasses.replace(config, model=SpatialTemporalDPNConfig(**settings))
    keras.utils.set_random_seed(0)
    model = build_model(config, num_classes=11)
    facts = {"confusion": [[1] * 11] * 11, "consistency": {"miou": 0.625, "pixels": 9}}
    stages = [{**one_stage(dataset), **facts, "name": "contexts"}]
    results = {"config": to_json(config), "seed": 0, "versions": {}, "stages": stages}
    (work_dir / "config.json").write_text(json.dumps(to_json(config)))
    (work_dir / "results.json").write_text(json.dumps(results))
    (path := stage_dir(work_dir, "contexts")).mkdir(parents=True)
    model.save(path / "model.keras")
    model.save(work_dir / "model.keras")
    return work_dir, dataset


@pytest.mark.usefixtures("eager")
def test_a_network_for_clips(clip_run, monkeypatch):
    def video_row(predictor, *args, show=video.video_row):
        heads.append(predictor.heads)
        return show(predictor, *args)

    heads = []
    monkeypatch.setattr(video, "video_row", video_row)
    work_dir, dataset = clip_run
    text = write_report([work_dir], dataset, num_images=1).read_text(encoding="utf-8")
    assert heads == [("contexts",)]  # of the last stage
    assert "<h1>SpatialTemporalDPN on moving_scenes</h1>" in text
    assert (
        "3 frames, linked along the optical flow; triple penalty 3×3×3; label contexts 3×3×3"
        in text
    )
    assert "<th>temporal consistency</th><td>62.5</td>" in text
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings.index("Frame by frame") == headings.index("Label contexts") - 1
    frames = text[text.index("Frame by frame") : text.index("Label contexts")]
    assert frames.count("<figure>") == 3 and frames.count("% kept") == 2
    assert "the cross is the pixel linked to A" in text


@pytest.mark.usefixtures("eager")
def test_several_runs_side_by_side(finished_run, small_scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(media, "plot", no_plot)
    names = [example.name for example in small_scenes.examples("val")]
    work_dirs = [tmp_path / name for name in ("first", "second")]
    for work_dir, right in zip(work_dirs, (2, 7), strict=True):
        shutil.copytree(finished_run, work_dir)
        results = json.loads((work_dir / "results.json").read_text())
        results["config"]["joint"]["epochs"] = right
        (work_dir / "results.json").write_text(json.dumps(results))
        confusions = np.zeros((3, 11, 11), int)
        confusions[:, 0, :2] = [(right + i, 10 - right - i) for i in range(3)]
        save_evaluation(work_dir, small_scenes, names, confusions)
    written = write_report(work_dirs, small_scenes, num_images=3)
    assert written == work_dirs[0] / "comparison.html"
    text = written.read_text(encoding="utf-8")
    assert "<h1>2 runs on scenes</h1>" in text and "<th>second</th>" in text
    assert text.count(">better<") == 1
    gallery = text[text.index("<h2>Images") : text.index("<h2>Settings that differ")]
    assert re.findall(r"<label[^>]*>(\w+)", gallery) == ["best", "worst", "changed"]
    assert gallery.count("<figure>") == 3 * (2 + 2)
    assert gallery.count("<img") == 3 * (2 + 2 * 2 + 1)
    assert "<th>joint.epochs</th><td>2</td><td>7</td>" in text
    other = Classes(("a",), ((1, 2, 3),), ignore=255)
    (work_dirs[1] / "classes.json").write_text(json.dumps(other.to_json()))
    with pytest.raises(ValueError, match="second: expected a run with the classes"):
        write_report(work_dirs, small_scenes)


def test_in_a_browser(page, browser, tmp_path):
    (path := tmp_path / "report.html").write_text(page, encoding="utf-8")
    shown = browser.new_page(viewport={"width": 390, "height": 844})
    complaints, requests = [], []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(path.as_uri())
    panels = shown.locator("fieldset").first.locator(".panel")

    def seen():
        return [panel.is_visible() for panel in panels.all()]

    assert seen() == [True, False]
    shown.locator("fieldset label").nth(1).click()
    assert seen() == [False, True]
    shown.keyboard.press("ArrowLeft")
    assert seen() == [True, False]
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    assert shown.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    shown.emulate_media(media="print")
    assert seen() == [True, True]
    assert not complaints
    assert {url for url in requests if not url.startswith("data:")} == {path.as_uri()}


def test_a_network_for_clips_needs_clips(clip_run, small_scenes):
    with pytest.raises(ValueError, match="dataset of clips, which scenes is not"):
        write_report(clip_run[:1], small_scenes)


def test_tags_are_balanced(page):
    tags = ("div", "table", "tr", "th", "td", "figure", "ul", "li", "p", "span", "small")
    for tag in (*tags, "label", "fieldset", "legend", "h3", "details"):
        assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_nothing_is_left_beside_the_page(page, finished_run):
    assert not [p for p in finished_run.iterdir() if "partial" in p.name]


def test_a_run_without_results_is_refused(tmp_path, small_scenes):
    with pytest.raises(ValueError, match="results.json: no such file"):
        write_report([tmp_path], small_scenes)


def test_a_split_without_images_is_refused(finished_run, small_scenes):
    with pytest.raises(ValueError, match="`split`"):
        write_report([finished_run], small_scenes, split="none")
    with pytest.raises(ValueError, match="`num_images`: expected 0 or more, received -1"):
        write_report([finished_run], small_scenes, num_images=-1)


@pytest.mark.usefixtures("eager")
def test_pages_without_images(finished_run, small_scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(media, "plot", no_plot)
    other = shutil.copytree(finished_run, tmp_path / "other")
    for runs in ([finished_run], [finished_run, other]):
        written = write_report(runs, small_scenes, num_images=0, out=tmp_path / "page.html")
        text = written.read_text(encoding="utf-8")
        assert "<figure" not in text and 'alt="ground truth"' not in text
        assert "gallery" not in text and set(re.findall('<img alt="([^"]*)"', text)) == {"plot"}
        assert "Label contexts" in text and "Settings" in text


def test_the_dataset_is_that_of_the_first_run(tmp_path):
    assert first_run([tmp_path / "a", tmp_path / "b"]) == tmp_path / "a"
    with pytest.raises(ValueError, match="Expected a training run"):
        first_run([])


EVIL = "<script>alert(1)</script>"


class EvilScenes(ScenesDataset):
    """Scenes whose names are markup: of the dataset, its classes, its images and its splits."""

    name = f"{EVIL} & scenes"
    classes = dataclasses.replace(CLASSES, names=(f"{EVIL} & sky", *CLASSES.names[1:]))

    def examples(self, split):
        found = super().examples("val")
        return tuple(dataclasses.replace(e, name=f"{EVIL} & {e.name}") for e in found)


@pytest.mark.usefixtures("eager")
def test_no_text_of_the_data_becomes_markup(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(media, "plot", no_plot)
    dataset = EvilScenes({"train": 3, "val": 3, "test": 3}, size=(48, 64))
    names = [example.name for example in dataset.examples("val")]
    runs = []
    for i in range(2):
        run = shutil.copytree(finished_run, tmp_path / f"<script>alert({i}) & run")
        results = json.loads((run / "results.json").read_text())
        results["versions"] = {EVIL: f"{EVIL} {i}"}
        results["config"]["data"]["val_split"] = f"{EVIL}-val"
        (run / "results.json").write_text(json.dumps(results))
        (run / "classes.json").write_text(json.dumps(dataset.classes.to_json()))
        confusions = np.tile(np.diag(range(11)), (3, 1, 1))
        confusions[1:, 2, 1] = 5, 9  # the first is the best, the last the worst
        save_evaluation(run, dataset, names, confusions)
        runs.append(run)
    for work_dirs in (runs[:1], runs):
        text = write_report(
            work_dirs, dataset, num_images=3, out=tmp_path / "page.html"
        ).read_text()
        assert "<script" not in text and "</script>" not in text
        assert "Content-Security-Policy\" content=\"default-src 'none'; img-src data:; " in text
        for shown in (dataset.classes.names[0], dataset.name, names[0], names[2]):
            assert str(escape(shown)) in text
    assert "&lt;script&gt;alert(1) &amp; run" in text
