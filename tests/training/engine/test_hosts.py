"""Several processes that train one network, over the loopback interface."""

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_dpn.models.model_file import load_model
from tests.training.engine.test_trainer import CONFIG
from training import cli
from training.configs.schema import StageConfig
from training.configs.serialization import to_json
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_dataset
from training.engine import hosts
from training.utils.files import write_json

SCRIPT = Path(__file__).with_name("start_processes.py")
pytestmark = pytest.mark.tensorflow_only  # JAX runs in processes of their own


class Starter:
    """Runs of `keras-dpn train` in new processes on JAX."""

    def __init__(self, directory):
        self.directory = directory
        data = replace(
            CONFIG.data, dataset="folder", data_dir=str(directory / "images"), batch_size=2
        )
        stage = StageConfig(epochs=2, learning_rate=3e-3, schedule="constant", accumulate=2)
        config = replace(CONFIG, data=data, unary=stage)
        write_json(directory / "small.json", to_json(config))
        write_dataset(ScenesDataset({"train": 8, "val": 3}, size=(48, 64)), directory / "images")
        environment = {
            "KERAS_BACKEND": "jax",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def train(self, name, *more, processes=1, fates=(), slurm=False):
        """Train in a directory; return the exit codes and outputs of the processes."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            coordinator = f"localhost:{free.getsockname()[1]}"
        jobs = []
        for i in range(processes):
            args = [str(self.directory / "small.json"), "--work-dir", str(self.directory / name)]
            args += more
            environment = {}
            if slurm:
                args += ["--coordinator", "auto"]
                environment = {
                    "SLURM_JOB_ID": str(os.getpid()),  # chooses the port
                    "SLURM_STEP_NODELIST": "localhost",
                    "SLURM_NTASKS": str(processes),
                    "SLURM_PROCID": str(i),
                    "SLURM_LOCALID": str(i),
                }
            elif processes > 1:
                args += ["--coordinator", coordinator, "--num-processes", str(processes)]
                args += ["--process-id", str(i)]
            output = str(self.directory / f"output{i}.txt")
            job = {"args": args, "output": output, "environment": environment}
            jobs.append({**job, "fate": dict(fates).get(i)})
        self.process.stdin.write(json.dumps(jobs) + "\n")
        self.process.stdin.flush()
        codes = json.loads(self.process.stdout.readline())
        for job in jobs:
            print(Path(job["output"]).read_text())
        return codes, [Path(job["output"]).read_text() for job in jobs]

    def history(self, name):
        return json.loads((self.directory / name / "history.json").read_text())


@pytest.fixture(scope="module")
def starter(tmp_path_factory):
    starter = Starter(tmp_path_factory.mktemp("hosts"))
    yield starter
    starter.process.stdin.close()
    starter.process.wait()


@pytest.fixture(scope="module")
def two(starter):
    """An undisturbed run of two processes; returns what they wrote."""
    codes, outputs = starter.train("two", processes=2)
    assert codes == [0, 0], outputs
    return outputs


@pytest.fixture(scope="module")
def killed(starter):
    """A run of two processes of which one was killed after the first epoch."""
    fates = {1: {"kind": "killed", "checkpoint": 2}}
    codes, outputs = starter.train("killed", processes=2, fates=fates)
    assert codes[1] == -9 and codes[0] not in (0, None), outputs
    assert "--resume" in outputs[0]
    shutil.copytree(starter.directory / "killed", starter.directory / "fewer")


def assert_same(starter, first, second, tolerance):
    histories = [starter.history(name) for name in (first, second)]
    for a, b in zip(*histories, strict=True):
        assert list(a) == list(b)
        assert {k: v for k, v in a.items() if k != "stage"} == pytest.approx(
            {k: v for k, v in b.items() if k != "stage"}, rel=tolerance, abs=tolerance
        )
    models = [load_model(starter.directory / name / "model.keras") for name in (first, second)]
    for a, b in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=a.path)


def test_two_processes_train_like_one(starter, two):
    codes, outputs = starter.train("one")
    assert codes == [0], outputs
    assert_same(starter, "one", "two", 1e-3)
    first = [run[0]["loss"] for run in map(starter.history, ("one", "two"))]
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    names = [
        sorted(path.relative_to(run).as_posix() for path in run.rglob("*.*"))
        for run in (starter.directory / "one", starter.directory / "two")
    ]
    names = [[name for name in run if not name.startswith("logs")] for run in names]
    assert names[0] == names[1]


def test_process_0_alone_prints_the_results(two):
    assert "unary: mIoU" in two[0] and "unary: mIoU" not in two[1]
    assert "epoch 2 of 2" in two[0] and "epoch" not in two[1]


def test_two_devices_of_one_process_train_like_one(starter, two):
    codes, outputs = starter.train("devices", "--devices", "cpu:2")
    assert codes == [0], outputs
    assert "Training on 2 devices" in outputs[0]
    assert_same(starter, "two", "devices", 1e-5)


def test_a_killed_process_ends_the_others_and_the_run_resumes(starter, two, killed):
    codes, outputs = starter.train("killed", "--resume", processes=2, slurm=True)
    assert codes == [0, 0], outputs
    assert_same(starter, "two", "killed", 0)


def test_the_death_of_process_0_ends_the_others(starter):
    fates = {0: {"kind": "killed", "checkpoint": 1}}
    codes, outputs = starter.train("headless", processes=2, fates=fates)
    assert codes[0] == -9 and codes[1] not in (0, None), outputs


def test_fewer_processes_resume(starter, two, killed):
    codes, outputs = starter.train("fewer", "--resume")
    assert codes == [0], outputs
    assert_same(starter, "two", "fewer", 1e-3)


@pytest.mark.parametrize("faulty", [0, 1])
def test_an_error_on_one_process_ends_all_with_its_message(starter, faulty):
    fates = {faulty: {"kind": "error", "checkpoint": 1}}
    codes, outputs = starter.train(f"faulty{faulty}", processes=2, fates=fates)
    assert codes == [2, 2], outputs
    assert "error: [Errno 28] No space left on device: '/somewhere'" in outputs[faulty]
    assert f"process {faulty}: OSError: [Errno 28] No space left" in outputs[1 - faulty]


# === Without other processes ===


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-processes", "2"], "together with --coordinator HOST:PORT"),
        (["--coordinator", "auto", "--process-id", "0"], "together with --coordinator HOST:PORT"),
        (["--coordinator", "host:1"], "--process-id from 0 to N - 1 with --coordinator"),
        (
            ["--coordinator", "host:1", "--num-processes", "2", "--process-id", "2"],
            "received 2 and 2",
        ),
        (
            ["--coordinator", "host", "--num-processes", "2", "--process-id", "1"],
            "expected HOST:PORT or auto, received 'host'",
        ),
        (["--coordinator", "auto"], "KERAS_BACKEND=jax; received tensorflow"),
    ],
)
def test_options_that_do_not_fit(options, message, tmp_path, capsys):
    args = ["train", "dpn/scenes", "--work-dir", str(tmp_path / "w"), *options]
    assert cli.main(args) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_one_process_is_the_chief():
    assert (hosts.index(), hosts.count(), hosts.is_chief()) == (0, 1, True)
    assert hosts.from_chief(lambda: {"a": 1}) == {"a": 1}
    arrays = [np.arange(3)]
    assert hosts.broadcast(arrays)[0] is arrays[0]
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert hosts.local_copy(model) is model
    hosts.barrier()


def test_tensorflow_trains_without_jax():
    """Its modules import JAX in functions, or are imported by these."""
    root = Path(__file__).parents[3] / "training"
    importing = {
        path.name
        for path in root.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import) and any(name.name == "jax" for name in node.names)
    }
    assert importing == {"jax_devices.py"}
