import pytest

from keras_dpn.presets import files, source
from training.rundir import paths as workdir
from training.rundir.models import load_model
from training.utils.files import write_json


def test_errors_name_the_file(tmp_path):
    with pytest.raises(ValueError, match="model.keras: no such file"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=f"{tmp_path}: no training run, there is no config.json"):
        workdir.load_config(tmp_path)
    with pytest.raises(ValueError, match="results.json: no such file; expected a finished"):
        workdir.load_results(tmp_path)
    config = {"network": "DeepLab", "unary": {"epochs": 1}, "joint": {"epochs": 0}}
    write_json(tmp_path / "config.json", config)
    for stage in ("b12", "joint"):  # one that there isn't, one that is left out
        with pytest.raises(ValueError, match=rf"one of \['unary'\], received '{stage}'"):
            load_model(tmp_path, stage)
    write_json(tmp_path / "config.json", {"network": "LeNet"})
    with pytest.raises(ValueError, match="config.json: network: expected one of .*'LeNet'"):
        workdir.stage_dir(tmp_path, "unary")


@pytest.mark.parametrize(
    "content",
    ["[]", "3", "{}", '{"stages": 3}', '{"stages": [3]}', '{"stages": [{"name": 3}]}', "{"],
)
def test_results_and_configurations_of_another_kind_are_named(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match="results.json: expected"):
        workdir.load_results(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json: "):
        workdir.load_stages(tmp_path)
    (tmp_path / "config.json").write_text('{"network": "DPN", "unary": 3}')
    with pytest.raises(ValueError, match="config.json: expected a configuration"):
        workdir.load_stages(tmp_path)


@pytest.mark.parametrize(
    ("config", "directories"),
    [
        (
            {"version": 4, "network": "DPN", "unary": 9, "triple": 1, "contexts": 3, "joint": 3},
            ["1_unary", "2_triple", "3_contexts", "4_joint"],
        ),
        (
            {"version": 5, "network": "DeepLab", "unary": 5, "multiscale": 2, "joint": 1},
            ["1_unary", "2_multiscale", "3_joint"],
        ),
        ({"network": "DPN", "unary": 0, "joint": 2, "finish": 1}, ["4_joint", "5_finish"]),
        ({"network": "DPN", "unary": 2, "joint": 1, "finish": 0}, ["1_unary", "4_joint"]),
    ],
)
def test_stages_lie_in_the_order_of_training(tmp_path, config, directories):
    """Those with epochs; a configuration may lack stages that were added later."""
    about = ("version", "network")
    values = {k: v if k in about else {"epochs": v} for k, v in config.items()}
    write_json(tmp_path / "config.json", values)
    found = [workdir.stage_dir(tmp_path, stage) for stage in workdir.load_stages(tmp_path)]
    assert found == [tmp_path / "stages" / directory for directory in directories]


def test_the_library_finds_a_run_by_the_same_names():
    assert workdir.MODEL == source.RUN_MODEL
    assert workdir.CLASSES == files.CLASSES


def test_evaluations_are_found_by_split(tmp_path):
    for split in ("val", "test"):
        write_json(workdir.evaluation_file(tmp_path, split), {})
    (tmp_path / "evaluation_val.npz").touch()
    assert workdir.evaluation_files(tmp_path) == {
        split: tmp_path / f"evaluation_{split}.json" for split in ("test", "val")
    }
