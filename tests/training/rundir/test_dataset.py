import json

import pytest

from keras_dpn.classes import Classes
from training.data.generated.writers import write_dataset
from training.rundir.dataset import find_run, run_dataset


def copy_run(source, target, **data):
    """Write the configuration and the classes of a run to another directory."""
    config = json.loads((source / "config.json").read_text())
    config["data"] |= data
    (target / "config.json").write_text(json.dumps(config))
    (target / "classes.json").write_text((source / "classes.json").read_text())
    return config


def test_run_dataset_is_that_of_the_run_with_its_seed(finished_run, tmp_path):
    assert run_dataset(finished_run).name == "scenes"
    config = copy_run(finished_run, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"seed": 3}))
    assert run_dataset(tmp_path).seed == 3


def test_run_dataset_opens_the_runs_own_files(finished_run, small_scenes, tmp_path):
    write_dataset(small_scenes, tmp_path / "images")
    copy_run(finished_run, tmp_path, dataset="folder", data_dir=str(tmp_path / "images"))
    assert run_dataset(tmp_path).name == run_dataset(tmp_path, "folder").name == "folder"
    assert run_dataset(tmp_path, "scenes").name == "scenes"


def test_run_dataset_refuses_other_classes(finished_run, tmp_path):
    copy_run(finished_run, tmp_path)
    (tmp_path / "classes.json").write_text(
        json.dumps(Classes(("dark",), ((0, 0, 0),), ignore=7).to_json())
    )
    with pytest.raises(ValueError, match="knows the classes dark; scenes has sky"):
        run_dataset(tmp_path)


def test_find_run_tells_runs_from_presets(finished_run, tmp_path):
    assert find_run([str(finished_run), "dpn_scenes"]) == finished_run
    assert find_run(["dpn_scenes"]) is None
    with pytest.raises(ValueError, match="a training run or a preset: name one or more"):
        find_run([])
    with pytest.raises(ValueError, match="none: no such directory, and no preset"):
        find_run([str(tmp_path / "none")])
