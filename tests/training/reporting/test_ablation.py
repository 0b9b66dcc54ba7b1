import json
import re
from dataclasses import replace

import numpy as np
import pytest

from keras_dpn.inference import Predictor
from training.configs.recipes import RECIPES
from training.evaluation.evaluator import evaluate
from training.evaluation.results import Subject
from training.reporting import images
from training.reporting.ablation import read_ablation
from training.reporting.formatting import signed_points
from training.reporting.page import write_report
from training.rundir.models import load_model
from training.sweeps.definitions import Row, Sweep
from training.sweeps.table import ABLATION, summarize

CRF = {"num_iterations": 2, "bilateral": (3.0, 8.0, 60.0), "filter": "exact"}
RECIPE = RECIPES["dpn/scenes"]
SWEEP = Sweep(
    "parts of <a network>",
    (
        Row("unary", RECIPE, "unary", title="the unary term", paper=62.1),
        Row("all", RECIPE),
        Row("crf", RECIPE, crf=CRF, title="with a CRF"),
    ),
    reference="all",
)


@pytest.fixture(scope="module")
def sweep_dir(finished_run, small_scenes, tmp_path_factory):
    """What `keras-dpn ablate` leaves in its directory; of "crf" there is one seed of two."""
    work_dir, files = tmp_path_factory.mktemp("sweep"), {}
    for row in SWEEP.rows:
        output = "unary" if row.stage else None
        model = load_model(finished_run, row.stage)
        predictor = Predictor(model, heads=output and (output,), crf=row.crf)
        evaluation = evaluate(predictor, small_scenes, "val")
        subject = Subject(finished_run, row.stage, output)
        for seed in (0, 1)[: 1 if row.crf else 2]:
            file = files[row.name, seed] = work_dir / "evaluations" / f"{row.name}_seed{seed}.json"
            last = replace(evaluation.head(), miou=0.25 + 0.5 * seed)
            heads = (*evaluation.heads[:-1], last)
            replace(evaluation, heads=heads, subject=subject, crf=row.crf).save(file)
    summarize(SWEEP, files, (0, 1), "val", 1).save(work_dir)
    return work_dir


@pytest.fixture(scope="module")
def page(sweep_dir, small_scenes):
    written = write_report([sweep_dir], small_scenes, num_images=3)
    assert written == sweep_dir / "ablation.html"
    return written.read_text(encoding="utf-8")


def test_rows_have_their_means_over_the_seeds(page):
    assert "<h1>parts of &lt;a network&gt;</h1>" in page
    head = page[page.index("<thead>") : page.index("</thead>")]
    assert re.findall("<th>([^<]+)</th>", head) == ["all", "the unary term", "with a CRF"]
    line = re.search('<tr class="mean"><th>mean IoU</th>(.*?)</tr>', page)[1]
    assert re.findall("<td>([0-9.]+)", line) == ["50.0", "50.0", "25.0"]
    assert "<th>the unary term</th><td>62.1</td>" in page
    assert "tagging accuracy" in page and "calibration error" in page


def test_rows_are_compared_with_the_reference(page, sweep_dir):
    verdicts = page[page.index("Is the difference") : page.index("<h2>Images")]
    assert "compared with that of all" in " ".join(verdicts.split())
    assert verdicts.count("<tr") == 1 + 2
    against = {row.name: row.against for row in read_ablation(sweep_dir).rows}
    difference = signed_points(against["crf"].difference)
    assert f"<th>with a CRF</th><td>{difference}</td>" in verdicts


def test_images_show_what_was_scored(sweep_dir, small_scenes, monkeypatch):
    shown = []

    def keep(sample, labels, classes, *, from_first):
        shown.append((sample.name, labels))
        return images.ComparisonRow([images.Column("x", "", [])], True)

    monkeypatch.setattr(images, "comparison_row", keep)
    text = write_report([sweep_dir], small_scenes, num_images=3).read_text(encoding="utf-8")
    gallery = text[text.index("<h2>Images") : text.index("<h2>Settings that differ")]
    assert gallery.count("<figure>") == len(shown) >= 2
    examples = {example.name: example for example in small_scenes.examples("val")}
    rows = read_ablation(sweep_dir).rows
    for name, labels in shown:
        truth = small_scenes.read(examples[name])[1]
        assert list(labels) == [row.title for row in rows]
        for row in rows:
            with np.load(row.files[0].with_suffix(".npz")) as arrays:
                counts = arrays[row.evaluations[0].head().name][list(examples).index(name)]
            right = (labels[row.title] == truth) & (truth != small_scenes.classes.ignore)
            assert right.sum() == np.trace(counts)


def test_without_images(sweep_dir, small_scenes, tmp_path):
    text = write_report([sweep_dir], small_scenes, num_images=0, out=tmp_path / "page.html")
    assert "<img" not in text.read_text(encoding="utf-8")


def test_what_cannot_be_shown_is_refused(sweep_dir, small_scenes, tmp_path):
    for options in ({"split": "test"}, {"block_size": 2}):
        with pytest.raises(ValueError, match="has its own split and block size"):
            write_report([sweep_dir], small_scenes, **options)
    summary = json.loads((sweep_dir / ABLATION).read_text())
    none = [{**row, "evaluations": {}} for row in summary["rows"]]
    (tmp_path / ABLATION).write_text(json.dumps({**summary, "rows": none}))
    with pytest.raises(ValueError, match="ablation.json: expected at least one row with scores"):
        read_ablation(tmp_path)
