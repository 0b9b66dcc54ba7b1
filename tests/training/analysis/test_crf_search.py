import itertools
import json

import numpy as np
import pytest
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor
from training.analysis import crf_search as script
from training.analysis.crf_search import coarse_to_fine, finer, keep_answers, search, starting_axes
from training.configs.crf import read_crf
from training.data.dataset import Dataset, Example
from training.evaluation.evaluator import evaluate
from training.rundir.paths import load_model

CLASSES = Classes(("dark", "red"), ((0, 0, 0), (255, 0, 0)), ignore=7)
FIXED = {"num_iterations": 10, "spatial": [3.0, 3.0]}


class Pictures(Dataset):
    """Seven grey pictures of growing size; the right half is red, but for void pixels."""

    name = "pictures"
    classes = CLASSES
    splits = {"val": tuple(Example(str(i), index=i) for i in range(7)), "train": (), "test": ()}

    def read(self, example):
        labels = np.repeat([[0, 0, 1, 1]], 40 + example.index, axis=0).astype("uint8")
        labels[0, 0] = 7
        return np.full((*labels.shape, 3), 10 * example.index, "uint8"), labels


class Network:
    """Says dark to everything, more surely further down; counts how often it is asked."""

    def __init__(self):
        self.asked = self.loaded = 0

    def load(self):
        self.loaded += 1
        return self

    def __call__(self, image):
        self.asked += 1
        dark = np.linspace(0.5, 1, image.shape[0])[:, None] * np.ones(image.shape[1])
        return np.stack([dark, 1 - dark], axis=-1).astype("float32")


class CRF:
    """Finds more of the red half the closer the setting is to (6, 50, 6); counts its calls."""

    def __init__(self, stop_after=10**9):
        self.calls, self.stop_after = 0, stop_after

    def __call__(self, image, probabilities, bilateral, **fixed):
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        assert fixed == FIXED
        far = np.abs(np.log(np.array(bilateral) / (6, 50, 6))).sum()
        red = np.arange(image.shape[0]) / image.shape[0] >= far / 2
        found = np.zeros_like(probabilities)
        found[..., 0] = 0.5
        found[red, 2:, 1] = 0.6
        return found


@pytest.fixture
def network_file(tmp_path):
    (tmp_path / "model.keras").write_text("weights")
    return tmp_path / "model.keras"


@pytest.fixture
def answers(tmp_path, network_file):
    return keep_answers(Pictures(), "val", 3, tmp_path / "kept", network_file, Network().load)


def linked(finished_run, work_dir):
    """A directory to write to, with the files of a run."""
    work_dir.mkdir()
    for name in ("config.json", "classes.json", "stages", "model.keras"):
        (work_dir / name).symlink_to(finished_run / name)
    return work_dir


def run_search(answers, path, axes=((5.0, 10.0), (30.0, 60.0), (6.0,)), rounds=1, fixed=FIXED):
    return search(answers, CLASSES, path, axes=axes, rounds=rounds, fixed=fixed, about={"a": 1})


def test_answers_are_kept_for_evenly_spaced_images(answers, network_file):
    assert [file.name for file in answers] == ["val_00000.npz", "val_00003.npz", "val_00006.npz"]
    assert sorted(answers[0].parent.iterdir()) == answers
    kept = np.load(answers[1])
    image, labels = Pictures().read(Pictures.splits["val"][3])
    np.testing.assert_array_equal(kept["image"], image)
    np.testing.assert_array_equal(kept["labels"], labels)
    np.testing.assert_array_equal(kept["probabilities"], Network()(image))
    everything = keep_answers(
        Pictures(), "val", 50, answers[0].parent, network_file, Network().load
    )
    assert len(everything) == 7


def test_answers_are_asked_for_once_unless_network_or_images_change(answers, network_file):
    def asked():
        network = Network()
        keep_answers(Pictures(), "val", 3, answers[0].parent, network_file, network.load)
        return network.loaded, network.asked

    assert asked() == (0, 0)
    answers[1].unlink()
    assert asked() == (1, 1)
    network_file.write_text("other weights")
    assert asked() == (1, 3)
    assert asked() == (0, 0)


def test_answers_are_not_for_testing(tmp_path, network_file):
    keep = lambda split, count: keep_answers(  # noqa: E731
        Pictures(), split, count, tmp_path, network_file, Network().load
    )
    with pytest.raises(ValueError, match="`split`: expected 'train' or 'val', received 'test'"):
        keep("test", 3)
    with pytest.raises(ValueError, match="'train' of pictures has no images"):
        keep("train", 3)
    with pytest.raises(ValueError, match="`images`: expected 1 or more, not 0"):
        keep("val", 0)


def test_the_search_refines_around_the_best(answers, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "refine", CRF())
    path = tmp_path / "search.json"
    record = run_search(answers, path)
    assert json.loads(path.read_text()) == record
    tried = [tuple(row["bilateral"]) for row in record["settings"]]
    assert tried[:4] == list(itertools.product((5, 10), (30, 60), (6,)))
    finest = itertools.product((3.54, 5, 7.07), (42.4, 60, 84.9), (6,))
    assert tried[4:] == [setting for setting in finest if setting not in tried[:4]]
    assert record["best"]["bilateral"] == [5, 42.4, 6]
    assert record["best"] == max(record["settings"], key=lambda row: row["miou"])
    assert record["images"] == 3
    # Without a CRF all is dark: half of the pixels, and one void pixel a picture.
    dark = 2 * (40 + 43 + 46)
    assert record["baseline"]["confusion"] == [[dark - 3, 0], [dark, 0]]
    assert record["baseline"]["miou"] == pytest.approx((dark - 3) / (2 * dark - 3) / 2)


def test_a_stopped_search_goes_on(answers, tmp_path, monkeypatch):
    path = tmp_path / "search.json"
    monkeypatch.setattr(script, "refine", CRF())
    expected = run_search(answers, tmp_path / "other.json")
    monkeypatch.setattr(script, "refine", CRF(stop_after=7))
    with pytest.raises(KeyboardInterrupt):
        run_search(answers, path)
    assert len(json.loads(path.read_text())["settings"]) == 2
    monkeypatch.setattr(script, "refine", crf := CRF())
    assert run_search(answers, path) == expected
    assert crf.calls == 3 * (len(expected["settings"]) - 2)
    monkeypatch.setattr(script, "refine", CRF(stop_after=0))
    assert run_search(answers, path) == expected


def test_a_search_with_other_facts_starts_anew(answers, tmp_path, monkeypatch):
    path = tmp_path / "search.json"
    monkeypatch.setattr(script, "refine", CRF())
    run_search(answers, path, rounds=0)
    run_search(answers[:2], path, rounds=0)
    assert json.loads(path.read_text())["images"] == 2
    monkeypatch.setattr(script, "refine", crf := CRF())
    run_search(answers[:2], path, rounds=1)
    assert crf.calls == 2 * 8


def test_images_without_labels_are_refused(tmp_path, network_file):
    pictures = Pictures()
    pictures.read = lambda example: (np.zeros((2, 2, 3), "uint8"), np.full((2, 2), 7, "uint8"))
    files = keep_answers(pictures, "val", 1, tmp_path / "kept", network_file, Network().load)
    with pytest.raises(ValueError, match="labelled pixel"):
        run_search(files, tmp_path / "search.json")


def test_finer_grids_close_in():
    optimum = np.log((7.3, 44.0, 9.1))
    scores, count = {}, 0
    for setting in coarse_to_fine(script.GRIDS["coarse"], 4, scores):
        scores[setting] = -np.square(np.log(setting) - optimum).sum()
        count += 1
    assert count == 27 + 4 * 27 == script._count(script.GRIDS["coarse"], 4)
    assert max(scores.values()) > -3 * np.log(2 ** (1 / 16)) ** 2


def test_finer_goes_beyond_the_ends_and_leaves_a_lone_value():
    assert finer([2.0, 8.0], 2.0) == (1.0, 2.0, 4.0)
    assert finer([2.0, 8.0, 18.0], 8.0) == (4.0, 8.0, 12.0)
    assert finer([3.0], 3.0) == [3.0]


def test_starting_axes_are_the_grids_unless_given():
    assert starting_axes("paper", (), (), ())[1] == [50, 60, 70, 80, 90, 100]
    assert starting_axes("coarse", (4.0, 2.0, 4.0), (), (5.0,)) == [[2, 4], [30, 60, 120], [5]]
    with pytest.raises(ValueError, match=r"`sigma_alpha`: .*\[0.0, 3.0\]"):
        starting_axes("coarse", (), (3.0, 0.0), ())


def test_script_writes_settings_scores_and_a_picture(
    finished_run, small_scenes, tmp_path, monkeypatch, capsys
):
    work_dir = linked(finished_run, tmp_path / "run")
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    options = {"w1": (3.0, 6.0), "sigma_alpha": (30.0,), "sigma_beta": (5.0,), "rounds": 1}
    script.main(work_dir=work_dir, split="val", images=2, num_iterations=2, **options)
    settings = read_crf(work_dir / "crf.json")
    record = json.loads((work_dir / "crf_search.json").read_text())
    assert settings == {**record["fixed"], "bilateral": record["best"]["bilateral"]}
    assert settings["num_iterations"] == 2
    assert len(record["settings"]) == 4
    assert Image.open(work_dir / "crf_search.png").width > 500
    printed = capsys.readouterr().out
    assert f"{100 * record['best']['miou']:.2f}% at w1" in printed
    assert "crf.json" in printed
    script.main(work_dir=work_dir, split="val", images=3, num_iterations=2, **options)
    record = json.loads((work_dir / "crf_search.json").read_text())
    settings = read_crf(work_dir / "crf.json")
    predictor = Predictor(load_model(work_dir), crf=settings)
    rows = evaluate(predictor, small_scenes, "val")["stages"]
    assert record["baseline"]["confusion"] == rows[0]["confusion"]
    assert record["best"]["confusion"] == rows[1]["confusion"]


def test_script_can_search_for_a_stage_of_training(
    finished_run, small_scenes, tmp_path, monkeypatch
):
    work_dir = linked(finished_run, tmp_path / "run")
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    options = {"w1": (3.0,), "sigma_alpha": (30.0,), "sigma_beta": (5.0,), "rounds": 0}
    script.main(work_dir=work_dir, images=3, num_iterations=1, stage="unary", **options)
    record = json.loads((work_dir / "crf_search.json").read_text())
    unary = json.loads((finished_run / "results.json").read_text())["stages"][0]
    assert record["baseline"]["confusion"] == unary["confusion"]


def test_mistakes_are_found_before_the_network_is_asked(finished_run, tmp_path, capsys):
    for wrong in (["--rounds", "-1"], ["--sigma-gamma", "-1"], ["--w1", "0"], ["--split", "test"]):
        with pytest.raises(SystemExit) as stopped:
            script.run(script.main, ["--work-dir", str(finished_run), *wrong])
        assert stopped.value.code == 2
        assert "error: " in capsys.readouterr().err
    assert not (finished_run / "crf_search").exists()
