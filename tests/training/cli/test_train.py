"""The whole of training on a handful of tiny images."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_dpn.models import DeepLab
from training import cli
from training.cli.train import parse as train
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_clips, write_dataset
from training.engine.callbacks import TrainingDiverged
from training.engine.checkpoints import Checkpoints
from training.engine.trainer import Trainer
from training.rundir import paths as workdir
from training.rundir.lock import LOCK, lock_directory
from training.rundir.models import load_model

REPOSITORY = Path(__file__).parents[3]
TINY = [
    *("--model.width", "0.04", "--model.backbone.name", "large_fov"),
    *("--model.local-conv.window", "5", "--model.contexts.window", "3"),
    *("--model.contexts.mixtures", "2", "--model.pairwise-stride", "4"),
    *("--data.batch-size", "2", "--data.augmentation.crop", "32", "48"),
    *("--precision", "float32", "--validation-epochs", "1"),
]
NO_JOINT = ["--joint.epochs", "0"]
ONE_EPOCH = [
    x for stage in ("unary", "triple", "contexts", "joint") for x in (f"--{stage}.epochs", "1")
]
ALL_STAGES = [
    *(*ONE_EPOCH, "--joint.loss.unary", "0.5", "--joint.loss.dice", "0.5"),
    *("--contexts.loss.lovasz", "0.5", "--contexts.loss.lovasz-stride", "2"),
]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pictures")
    write_dataset(ScenesDataset({"train": 4, "val": 2}, size=(48, 64)), directory)
    return directory


@pytest.fixture(autouse=True)
def default_policy():
    yield
    keras.config.set_dtype_policy("float32")


def test_the_configuration_is_printed_and_read_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--data-dir", "data", "--epochs", "3", "--seed", "5", "--print-config"]
    train(["dpn/folder", *options])
    printed = capsys.readouterr().out
    values = json.loads(printed)
    assert (values["seed"], values["unary"]["epochs"]) == (5, 3)
    assert values["data"]["data_dir"] == "data"
    assert not list(tmp_path.iterdir())
    (tmp_path / "config.json").write_text(printed)
    train(["config.json", "--print-config"])
    assert capsys.readouterr().out == printed


def test_the_length_of_a_stage_comes_before_that_of_all(capsys):
    options = ["--epochs", "5", "--joint.epochs", "1", "--triple.steps", "200"]
    train(["dpn/folder", *options, "--print-config"])
    stages = json.loads(capsys.readouterr().out)
    epochs = {name: stages[name]["epochs"] for name in ("unary", "triple", "contexts", "joint")}
    assert (epochs["unary"], epochs["contexts"], epochs["joint"]) == (5, 5, 1)
    assert stages["triple"]["steps"] == 200


def arguments(pictures, work_dir, *more):
    return ["dpn/folder", "--data-dir", str(pictures), "--work-dir", str(work_dir), *TINY, *more]


@pytest.fixture(scope="session")
def trained(pictures, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("run") / "work"
    train(arguments(pictures, work_dir, *ALL_STAGES))
    return work_dir


def test_a_run_leaves_its_results(trained):
    results = json.loads((trained / "results.json").read_text())
    assert [stage["name"] for stage in results["stages"]] == [
        "unary",
        "triple",
        "contexts",
        "joint",
    ]
    for stage in results["stages"]:
        assert 0 <= stage["miou"] <= 1 and len(stage["iou"]) == 11
        assert stage["steps"] == 2 and stage["seconds"] > 0
        assert np.sum(stage["confusion"]) > 0
    trained_parameters = [stage["parameters_trained"] for stage in results["stages"]]
    assert trained_parameters[1] == 4  # a, b, color_weight, position_weight
    assert trained_parameters[2] == 3 * 3 * 11 * 22 + 22
    assert trained_parameters[3] == sum(trained_parameters[:3])
    assert results["config"]["data"]["data_dir"] and results["seed"] == 0
    assert set(results["versions"]) >= {"keras", "tensorflow", "keras_dpn"}
    assert results == results | {"classes": json.loads((trained / "classes.json").read_text())}


def test_a_stage_changes_its_own_layers_alone(trained):
    models = {s: load_model(trained, s) for s in ("unary", "triple", "contexts")}

    def changed(a, b):
        pairs = zip(models[a].weights, models[b].weights, strict=True)
        return {u.path.split("/")[-2] for u, v in pairs if not np.array_equal(u, v)}

    assert changed("unary", "triple") <= {"b12"}
    assert changed("triple", "contexts") <= {"b13"}


def test_a_stage_never_ends_worse_than_it_began(trained):
    history = json.loads((trained / "history.json").read_text())
    results = {
        s["name"]: s["miou"] for s in json.loads((trained / "results.json").read_text())["stages"]
    }
    for stage, miou in results.items():
        seen = [e["val_miou"] for e in history if e["stage"] == stage]
        assert miou == pytest.approx(max(seen), abs=1e-6)


def test_the_model_is_the_last_stage(trained):
    final, joint = load_model(trained), load_model(trained, "joint")
    for a, b in zip(final.weights, joint.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert final.head_names == ("unary", "triple", "contexts", "final")
    assert list((trained / "logs").iterdir())


def test_a_run_repeats_from_its_configuration(trained, tmp_path):
    """Its first stage, to save time; of the others the settings."""
    again, others = tmp_path / "again", ("triple", "contexts", "joint")
    none = [x for stage in others for x in (f"--{stage}.epochs", "0")]
    train([str(trained / "config.json"), "--work-dir", str(again), *none])
    first, second = (json.loads((d / "results.json").read_text()) for d in (trained, again))
    assert first["stages"][0]["confusion"] == second["stages"][0]["confusion"]
    for stage in others:
        assert second["config"][stage].pop("epochs") == 0
        assert first["config"][stage].pop("epochs") == 1
    assert first["config"] == second["config"]


def test_the_plan_is_logged_before_training(pictures, tmp_path, messages, monkeypatch):
    """Of 4 images in batches of 2, an epoch of 2 steps; `steps` become epochs of several passes."""
    monkeypatch.setattr(Trainer, "_fit", lambda *_: pytest.fail("the plan comes first"))
    with pytest.raises(pytest.fail.Exception, match="the plan comes first"):
        train(arguments(pictures, tmp_path / "a", *ONE_EPOCH, *NO_JOINT))
    stages = [f"{name} 1 epoch, 2 steps" for name in ("unary", "triple", "contexts")]
    assert f"plan: {'; '.join(stages)}" in messages()
    with pytest.raises(pytest.fail.Exception):
        train(arguments(pictures, tmp_path / "b", "--steps", "60", *NO_JOINT))
    plan = messages().rpartition("plan: ")[2]  # its minutes are the machine's
    assert plan.startswith("unary 2 epochs, 100 steps; triple 2 epochs, 100 steps; contexts")
    assert "joint" not in plan and re.search(r"; about \d+ min, without validation", plan)


def test_a_work_dir_is_not_overwritten(trained, pictures):
    with pytest.raises(ValueError, match="contains a run already: --resume it"):
        train(arguments(pictures, trained, *ONE_EPOCH))


def test_a_resumed_run_keeps_its_configuration(trained, pictures):
    other = ["--seed", "3", "--model.contexts.mixtures", "3", "--unary.batch-size", "1"]
    fields = r"seed, model\.contexts\.mixtures, unary\.batch_size"
    with pytest.raises(
        ValueError, match=rf"configured otherwise in: {fields}. Give them unchanged"
    ):
        train(arguments(pictures, trained, *ALL_STAGES, *other, "--resume"))
    with pytest.raises(ValueError, match="past stage joint; expected --joint.epochs unchanged, 1"):
        train(arguments(pictures, trained, *ALL_STAGES, "--joint.epochs", "2", "--resume"))


def start(args):
    command = [sys.executable, "-m", "training", "train", *args]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_a_killed_run_resumes_to_the_same_weights(pictures, tmp_path):
    more = ["--unary.epochs", "4", "--triple.epochs", "0", "--contexts.epochs", "0"]
    more += ["--joint.epochs", "0", "--unary.accumulate", "2", "--unary.ema-momentum", "0.9"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    train(arguments(pictures, undisturbed, *more))
    process = start(arguments(pictures, killed, *more))
    checkpoints = Checkpoints(killed / "checkpoints")
    deadline = time.monotonic() + 300
    while (checkpoints.state() or {"epoch": 0})["epoch"] < 2:
        assert time.monotonic() < deadline and process.poll() is None, process.stdout.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "results.json").exists()
    train(arguments(pictures, killed, *more, "--resume"))
    ours, theirs = (load_model(d) for d in (undisturbed, killed))
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    histories = [json.loads((d / "history.json").read_text()) for d in (undisturbed, killed)]
    assert histories[0] == histories[1]


def test_two_devices_and_accumulated_steps_train_like_one(pictures, tmp_path):
    more = ["--unary.epochs", "2", "--triple.epochs", "0", "--contexts.epochs", "0"]
    more += ["--joint.epochs", "0", "--model.dropout", "0", "--unary.optimizer", "sgd"]
    more += ["--unary.ema-momentum", "0.5"]  # what is validated and kept: of two updates
    more += ["--data.augmentation.scale", "1", "1", "--unary.loss.class-weight-power", "0"]
    more += ["--unary.clip-norm", "None"]  # is applied before devices sum their gradients
    large, small = ["--unary.batch-size", "4"], ["--unary.accumulate", "2", "--devices", "cpu:2"]
    process = start(arguments(pictures, tmp_path / "two", *more, *small))
    train(arguments(pictures, tmp_path / "one", *more, *large))
    output = process.communicate()[0].decode()
    assert process.returncode == 0, output
    one, two = (load_model(tmp_path / d) for d in ("one", "two"))
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, err_msg=a.path)
    history = [json.loads((tmp_path / d / "history.json").read_text()) for d in ("one", "two")]
    for ours, theirs in zip(*history, strict=True):
        assert ours["val_miou"] == pytest.approx(theirs["val_miou"], abs=1e-3)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-4)


def test_an_update_needs_no_more_steps_than_an_epoch_has(pictures, tmp_path):
    with pytest.raises(ValueError, match="`accumulate`: .* 2 of 2 images, received 3"):
        train(arguments(pictures, tmp_path / "w", "--unary.accumulate", "3"))


@pytest.mark.usefixtures("eager")
def test_a_run_that_diverges_goes_on_as_its_message_says(pictures, tmp_path, messages):
    stages = ["--unary.epochs", "2", "--triple.epochs", "0", "--contexts.epochs", "0", *NO_JOINT]
    work_dir, args = tmp_path / "w", [*stages, "--unary.learning-rate"]
    with pytest.raises(
        TrainingDiverged,
        match=r"stage unary: the loss is .* at step \d.* rate \d.*e\+.* went back to \S+ 4 times, "
        r"the last time at 0.125 .* --resume with a lower --unary.learning-rate.",
    ):
        train(arguments(pictures, work_dir, *args, "1e30"))
    assert not (work_dir / "stages").exists()
    train(arguments(pictures, work_dir, *args, "1e-3", "--resume"))
    assert "unary.learning_rate changes from 1e+30 to 0.001" in messages()
    results = json.loads((work_dir / "results.json").read_text())
    tried = [(r["stage"], r["epoch"], r["learning_rate_factor"]) for r in results["recoveries"]]
    assert tried == [("unary", 1, factor) for factor in (1.0, 0.5, 0.25, 0.125)]
    change = {"field": "unary.learning_rate", "from": 1e30, "to": 1e-3}
    assert results["changes"] == [{"stage": "unary", "epoch": 0, **change}]
    assert results["config"]["unary"]["learning_rate"] == 1e-3
    assert workdir.load_config(work_dir) == results["config"]
    train(arguments(pictures, tmp_path / "straight", *args, "1e-3"))
    ours, theirs = (load_model(d) for d in (work_dir, tmp_path / "straight"))
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


def test_faulty_data_is_refused_before_training(pictures, tmp_path):
    broken = tmp_path / "broken"
    write_dataset(ScenesDataset({"train": 2, "val": 2}, size=(48, 64)), broken)
    victim = next((broken / "labels").glob("train*"))
    victim.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=rf"1 issue, the first: .*{victim.name}"):
        train(arguments(broken, tmp_path / "w"))
    assert not list((tmp_path / "w").iterdir())  # the next try finds an empty directory


def test_unknown_recipes():
    with pytest.raises(
        ValueError, match="expected a recipe .*, received 'dpn/foldr'; did you mean"
    ):
        train(["dpn/foldr"])


def test_recipes_have_the_names_of_version_0_1_too(pictures, tmp_path, messages):
    with pytest.raises(ValueError, match="--unary.accumulate from 1 up"):
        train(["folder", *arguments(pictures, tmp_path / "w", "--unary.accumulate", "0")[1:]])
    assert messages() == "folder is deprecated: use dpn/folder"


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clips")
    write_clips(MovingScenesDataset({"train": 1, "val": 1}, size=(48, 64), frames=2), directory)
    shutil.rmtree(directory / "flow")  # it is computed then
    return directory


def start_of(clips):
    return ["--data.dataset", "clips", "--data-dir", str(clips), *TINY]


@pytest.fixture(scope="session")
def trained_on_frames(clips, tmp_path_factory):
    """A run on the single frames, of the first stage."""
    work_dir = tmp_path_factory.mktemp("frames") / "work"
    stages = ["--unary.epochs", "1", "--triple.epochs", "0", "--contexts.epochs", "0"]
    data = start_of(clips)
    train(["dpn/camvid", *data, "--work-dir", str(work_dir), *stages, *NO_JOINT])
    return work_dir


def check_a_run_on_clips(recipe, work_dir, clips, trained_on_frames, *more):
    """A run that starts from the one on frames; returns the names of its stages."""
    weights = ["--weights", str(trained_on_frames / "stages" / "1_unary" / "model.keras")]
    stages = ["--triple.epochs", "1", "--contexts.epochs", "1", "--joint.epochs", "1", *more]
    # An epoch of this makes a better model, which is what a run keeps.
    near = ["--model.frame-spacing", "1", "--contexts.learning-rate", "1e-1"]
    data = start_of(clips)
    train([recipe, *data, "--work-dir", str(work_dir), *stages, *near, *weights])
    assert any((work_dir / "flow").iterdir())
    results = json.loads((work_dir / "results.json").read_text())["stages"]
    assert all(0 <= stage["consistency"]["miou"] <= 1 for stage in results)
    before = load_model(trained_on_frames)
    after = load_model(work_dir, "contexts")
    assert after.linking == ("flow" if recipe == "dpn-video/camvid" else "static")
    for name in ("b1_conv1", "b11"):
        ours, theirs = (m.get_layer(name).get_weights()[0] for m in (after, before))
        np.testing.assert_array_equal(ours, theirs)
    kernel = after.get_layer("b13").get_weights()[0]
    assert kernel.shape == (3, 3, 33, 22) and kernel[:, :, :11].any()  # the frame before
    assert results[1]["parameters_trained"] == after.get_layer("b13").count_params()
    return [stage["name"] for stage in results]


@pytest.mark.usefixtures("eager")
def test_linked_clips_start_from_a_run_on_pictures(clips, trained_on_frames, tmp_path):
    runs = tmp_path, clips, trained_on_frames
    assert check_a_run_on_clips("dpn-video/camvid", *runs, *NO_JOINT) == ["triple", "contexts"]


@pytest.mark.usefixtures("eager")
def test_clips_linked_in_place_start_from_a_run_on_pictures(clips, trained_on_frames, tmp_path):
    runs = tmp_path, clips, trained_on_frames
    stages = ["triple", "contexts", "joint"]
    assert check_a_run_on_clips("dpn-video/camvid/static", *runs) == stages


def test_unknown_fields_and_devices(pictures, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        train(arguments(pictures, tmp_path / "w", "--unary.lerning-rate", "1"))
    assert stopped.value.code == 2
    with pytest.raises(ValueError, match="expected all, gpu, .* cpu or cpu:N, received 'tpu'"):
        train(arguments(pictures, tmp_path / "w", "--devices", "tpu"))


def test_stages_need_their_layers(pictures, tmp_path):
    with pytest.raises(
        ValueError, match="Stage contexts needs model.pairwise of contexts, received triple"
    ):
        train(arguments(pictures, tmp_path / "w", "--model.pairwise", "triple", *ONE_EPOCH))


def test_an_unwritable_work_dir_is_named(pictures, tmp_path):
    (tmp_path / "w").write_text("a file, not a directory")
    with pytest.raises(OSError, match="w'"):
        train(arguments(pictures, tmp_path / "w"))


def test_a_second_run_in_a_directory_ends(pictures, tmp_path, capsys):
    with lock_directory(tmp_path / "w"):
        assert cli.main(["train", *arguments(pictures, tmp_path / "w")]) == 2
        assert f"w: in use by process {os.getpid()} on" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "w").iterdir()] == [LOCK]


@pytest.mark.parametrize("name", ["model.keras", "results.json", "checkpoints", "logs"])
def test_files_of_others_are_not_replaced(pictures, tmp_path, name):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / name).write_text("precious")
    with pytest.raises(ValueError, match=f"w/{name}: would be replaced, and no training run"):
        train(arguments(pictures, tmp_path / "w"))
    assert [path.name for path in (tmp_path / "w").iterdir()] == [name]
    assert (tmp_path / "w" / name).read_text() == "precious"


def test_missing_weights_leave_nothing(pictures, tmp_path):
    with pytest.raises((ValueError, OSError), match="none.h5"):
        train(arguments(pictures, tmp_path / "w", "--weights", str(tmp_path / "none.h5")))
    assert not list((tmp_path / "w").iterdir())


def test_weights_of_another_sha256_leave_nothing(pictures, tmp_path):
    file = tmp_path / "vgg.weights.h5"
    file.write_bytes(b"what a mirror gave")
    weights = ["--weights", str(file), "--weights-sha256", "0" * 64]
    with pytest.raises(ValueError, match="vgg.weights.h5: .*0{64}"):
        train(arguments(pictures, tmp_path / "w", *weights))
    assert not list((tmp_path / "w").iterdir())


@pytest.mark.usefixtures("eager")
def test_half_precision_trains(pictures, tmp_path):
    more = ["--unary.epochs", "0", "--triple.epochs", "0", "--contexts.epochs", "0"]
    more += ["--joint.epochs", "2", "--precision", "mixed_float16"]
    train(arguments(pictures, tmp_path / "w", *more))
    history = json.loads((tmp_path / "w" / "history.json").read_text())
    losses = [epoch["loss"] for epoch in history if "loss" in epoch]
    assert len(losses) == 2 and np.isfinite(losses).all()


DEEPLAB = [
    *("--data.batch-size", "2", "--data.augmentation.crop", "33", "49"),
    *("--model.width", "0.04", "--model.multiscale", "--precision", "float32"),
    *("--unary.epochs", "1", "--multiscale.epochs", "2", "--joint.epochs", "1"),
    *("--unary.loss.subsampled", "--multiscale.loss.subsampled"),
]


def deeplab_arguments(pictures, work_dir, *more):
    start = ["deeplab/camvid/crf", "--data.dataset", "folder", "--data-dir", str(pictures)]
    return [*start, "--work-dir", str(work_dir), *DEEPLAB, *more]


@pytest.fixture(scope="session")
def trained_deeplab(pictures, tmp_path_factory, eagerly):
    """A run that was stopped after the first of two epochs of "multiscale", and resumed."""
    work_dir = tmp_path_factory.mktemp("deeplab") / "work"
    settings = work_dir.with_name("crf.json")
    settings.write_text(json.dumps({"num_iterations": 2, "bilateral": [4, 20, 5]}))
    args = deeplab_arguments(pictures, work_dir, "--crf", str(settings))
    end_epoch = Trainer._end_epoch

    def stop_in_multiscale(self, stage, *rest):
        end_epoch(self, stage, *rest)
        if stage.name == "multiscale":
            raise KeyboardInterrupt

    with eagerly():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "_end_epoch", stop_in_multiscale)
            with pytest.raises(KeyboardInterrupt):
                train(args)
        assert not (work_dir / "results.json").exists()
        train([*args, "--resume"])
    return work_dir


def test_deeplab_trains_through_its_stages(trained_deeplab):
    results = json.loads((trained_deeplab / "results.json").read_text())
    assert [stage["name"] for stage in results["stages"]] == ["unary", "multiscale", "joint"]
    found = [directory.name for directory in sorted((trained_deeplab / "stages").iterdir())]
    assert found == ["1_unary", "2_multiscale", "3_joint"]
    unary, multiscale, joint = (stage["parameters_trained"] for stage in results["stages"])
    final = load_model(trained_deeplab)
    assert type(final) is DeepLab and final.head_names == ("unary", "multiscale", "final")
    crf = results["config"]["model"]["crf"]
    assert (crf["num_iterations"], crf["bilateral"]) == (2, [4.0, 20.0, 5.0])
    assert crf["trainable_weights_of"] == ["weights", "compatibility"]  # the recipe's
    trained = final.get_layer("crf").trainable_weights
    assert joint == unary + multiscale + sum(np.prod(weight.shape) for weight in trained)


def test_the_multiscale_stage_freezes_the_rest(trained_deeplab):
    stages = [load_model(trained_deeplab, name) for name in ("unary", "multiscale")]
    changed = {
        a.path.split("/")[-2]
        for a, b in zip(*(model.weights for model in stages), strict=True)
        if not np.array_equal(a, b)
    }
    assert all(layer.startswith("msc_") for layer in changed)


def test_a_resumed_deeplab_trains_each_epoch_once(trained_deeplab):
    history = json.loads((trained_deeplab / "history.json").read_text())
    trained = [(entry["stage"], entry["epoch"]) for entry in history if "loss" in entry]
    assert trained == [("unary", 1), ("multiscale", 1), ("multiscale", 2), ("joint", 1)]
    assert np.isfinite([entry["loss"] for entry in history if "loss" in entry]).all()


def test_another_networks_run_is_not_resumed(pictures, trained_deeplab):
    with pytest.raises(ValueError, match="configured otherwise in: network, DeepLab, not DPN"):
        train(arguments(pictures, trained_deeplab, "--resume"))


def test_crf_settings_need_a_network_with_a_crf(pictures, tmp_path):
    (tmp_path / "crf.json").write_text("{}")
    with pytest.raises(
        ValueError, match="--crf needs a recipe of a network with a CRF, .*, received DPN"
    ):
        train(arguments(pictures, tmp_path / "w", "--crf", str(tmp_path / "crf.json")))


PIECEWISE = [
    *("--model.width", "0.06", "--model.units", "64", "--model.num-blocks", "1"),
    *("--model.block6", "1", "64", "--model.num-neighbors", "4", "--validation-epochs", "2"),
    *("--data.batch-size", "2", "--data.augmentation.crop", "32", "48"),
    *(x for s in ("unary", "pairwise", "pieces") for x in (f"--{s}.epochs", "2")),
]


def piecewise_arguments(pictures, work_dir, *more):
    start = ["piecewise/houses/above", "--data.dataset", "folder", "--data-dir", str(pictures)]
    return [*start, "--work-dir", str(work_dir), *PIECEWISE, *more]


@pytest.fixture(scope="session")
def trained_piecewise(pictures, tmp_path_factory):
    """A run, one potential after the other, that was stopped within the second, and resumed."""
    work_dir = tmp_path_factory.mktemp("piecewise") / "work"
    args = piecewise_arguments(pictures, work_dir)
    end_epoch = Trainer._end_epoch

    def stop_in_above(self, stage, *rest):
        end_epoch(self, stage, *rest)
        if stage.name == "above":
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_end_epoch", stop_in_above)
        with pytest.raises(KeyboardInterrupt):
            train(args)
    train([*args, "--resume"])
    return work_dir


def test_a_piecewise_field_trains_through_its_stages(trained_piecewise):
    results = json.loads((trained_piecewise / "results.json").read_text())
    assert [stage["name"] for stage in results["stages"]] == ["unary", "above"]
    trained = sum(stage["parameters_trained"] for stage in results["stages"])
    assert trained == load_model(trained_piecewise).count_params()
    history = json.loads((trained_piecewise / "history.json").read_text())
    epochs = [(entry["stage"], entry["epoch"]) for entry in history]
    assert epochs == [("unary", 1), ("unary", 2), ("above", 1), ("above", 2)]


def test_potentials_learn_apart_what_they_learn_together(pictures, trained_piecewise, tmp_path):
    """The other run was interrupted, too."""
    train(piecewise_arguments(pictures, tmp_path / "w", "--order", "together"))
    together = load_model(tmp_path / "w")
    before, apart = (load_model(trained_piecewise, s) for s in ("unary", "above"))
    for a, b, c in zip(together.weights, apart.weights, before.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, err_msg=a.path)
        assert np.array_equal(b, c) == b.path.startswith("unary")


def test_a_piecewise_run_is_of_use(trained_piecewise, pictures, tmp_path):
    run, image = str(trained_piecewise), next((pictures / "images").glob("val*"))
    assert cli.main(["evaluate", run, "--heads"]) == 0
    evaluation = json.loads((trained_piecewise / "evaluation_val.json").read_text())
    names = ["unary", "above", "field", "final"]
    assert [head["name"] for head in evaluation["heads"]] == names
    out = tmp_path / "out"
    assert cli.main(["predict", str(image), "--model", run, "--out", str(out)]) == 0
    assert (out / "labels" / f"{image.stem}.png").is_file()
    saved = str(tmp_path / "saved")
    assert cli.main(["export", "--model", run, "--out", saved, "--verify-with", str(image)]) == 0


def test_results_are_printed(pictures, tmp_path, capsys):
    stages = ["--unary.epochs", "1", "--triple.epochs", "0", "--contexts.epochs", "0", *NO_JOINT]
    assert cli.main(["train", *arguments(pictures, tmp_path / "w", *stages)]) == 0
    printed = capsys.readouterr()
    (stage,) = json.loads((tmp_path / "w" / "results.json").read_text())["stages"]
    assert printed.out == f"unary: mIoU {stage['miou']:.4f}, accuracy {stage['accuracy']:.4f}\n"
    assert "stage unary: epoch 1 of 1, loss " in printed.err
