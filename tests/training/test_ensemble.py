import json
from pathlib import Path

import pytest
import tyro

from training.ensemble import WorkDirs, choose_tile, load_ensemble
from training.workdir import load_classes


def test_models_of_several_runs_in_half_precision(finished_run):
    networks, classes = load_ensemble([finished_run, finished_run], "mixed_bfloat16")
    assert [n.get_layer("b1_conv1").compute_dtype for n in networks] == 2 * ["bfloat16"]
    assert classes == load_classes(finished_run)


def test_runs_of_other_classes_are_refused(finished_run, tmp_path):
    other = load_classes(finished_run).to_json() | {"ignore": 254}
    (tmp_path / "classes.json").write_text(json.dumps(other))
    (tmp_path / "model.keras").symlink_to(finished_run / "model.keras")
    with pytest.raises(ValueError, match="ignored: 255.*ignored: 254.*can't be averaged"):
        load_ensemble([finished_run, tmp_path])
    with pytest.raises(ValueError, match="give --work-dir, once or several times"):
        load_ensemble([])


def test_each_run_has_an_option_of_its_own():
    def script(pictures: tyro.conf.Positional[tuple[str, ...]], *, work_dir: WorkDirs = ()):
        return pictures, work_dir

    found = tyro.cli(script, args=["--work-dir", "a", "--work-dir", "b", "x.png", "y.png"])
    assert found == (("x.png", "y.png"), (Path("a"), Path("b")))


def test_a_tile_is_given_or_chosen_or_there_is_none():
    assert choose_tile([], (1.0,), None, None) is None
    assert choose_tile([], (1.0,), 640, None) == 640
    with pytest.raises(ValueError, match="either --tile or --memory"):
        choose_tile([], (1.0,), 640, 2.0)
