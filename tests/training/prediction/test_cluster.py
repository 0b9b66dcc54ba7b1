import importlib.util
import json
import os
import pickle
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.checks import scan_dataset
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_dataset
from training.data.registry import load_dataset
from training.prediction import cluster
from training.prediction.job import predict
from training.prediction.manifest import write_manifest
from training.prediction.results import FileResult
from training.prediction.settings import PredictionJob
from training.prediction.worker import Worker, pack_item, pack_result, unpack_result
from training.rundir.outputs import Outputs
from training.utils.ray_cluster import ClusterOptions

PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
EXPORTED = Path(__file__).parents[3] / "saved_models" / "scenes"
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")


def save(path, size=(10, 8), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), "uint8")
    Image.fromarray(pixels).save(path)
    return path


def contents(out, *patterns):
    return {
        str(path.relative_to(out)): path.read_bytes()
        for pattern in patterns
        for path in out.rglob(pattern)
    }


# ---------------------------------------------------------------- without Ray


class FakeRun:
    """Blocks on workers that write no label map, that die, or that can't write.

    Those of another `host` may have written files that are not seen here yet, `unseen`.
    """

    def __init__(self, job, *, deadly=(), silent=(), fatal="", host=None, unseen=()):
        self.job, self.deadly, self.silent, self.fatal = job, deadly, silent, fatal
        self.host, self.unseen = {} if host is None else {"host": host}, unseen
        self.sent = []

    def __call__(self, ray, job, options, workers, blocks):
        for block in blocks:
            names = [json.loads(item)[1] for item in block]
            self.sent.append(names)
            if self.fatal:
                yield {"error": self.fatal, "fatal": True, "inputs": []}
            if set(names) & set(self.deadly):
                continue
            for name in names:
                (self.job.out / "labels").mkdir(exist_ok=True)
                if name not in self.unseen:
                    Image.new("P", (10, 8)).save(self.job.out / f"labels/{name}.png")
                if name not in self.silent:
                    result = FileResult("image", name, 8, 10, None, [1.0] + [0.0] * 10)
                    yield pack_result(result) | self.host


@pytest.fixture
def faked(monkeypatch, finished_run, tmp_path):
    """Make a function that predicts 40 images on false workers, and returns the summary."""

    @contextmanager
    def connect(options):
        yield None

    monkeypatch.setattr(cluster, "connect", connect)
    monkeypatch.setattr(cluster, "number_of_workers", lambda options, ray: 1)
    for i in range(40):
        save(tmp_path / f"in/{i:02}.png", seed=i)
    job = PredictionJob(
        (str(tmp_path / "in"),),
        (str(finished_run),),
        tmp_path / "out",
        manifest=tmp_path / "all.jsonl",
        cluster=ClusterOptions("local"),
    )

    def run(**faults):
        monkeypatch.setattr(cluster, "_run", fake := FakeRun(job, **faults))
        return predict(job), fake.sent

    return run


def test_an_image_that_kills_its_worker_is_tried_twice_and_listed(faked, tmp_path, messages):
    summary, sent = faked(deadly=["17"])
    assert [path.stem for path in summary.unreadable] == ["17"]
    assert summary.num_images == 39
    assert [len(block) for block in sent] == [16, 16, 8] + [1] * 16, "17's block again, one by one"
    (line,) = (tmp_path / "out/errors.jsonl").read_text().splitlines()
    error = json.loads(line)
    assert error["path"] == str(tmp_path / "in/17.png")
    assert "tried 2 times (its worker died" in error["cause"]
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert len(rows) == 39
    assert "16 files whose worker has died are sent again" in messages()


def test_what_was_written_before_its_worker_died_is_not_done_twice(faked, tmp_path):
    summary, sent = faked(silent=["01", "30"])
    assert (summary.num_images, summary.unreadable) == (40, ())
    assert sum(sent, []) == [f"{i:02}" for i in range(40)]
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [str(tmp_path / f"in/{i:02}.png") for i in range(40)]
    assert not (tmp_path / "out/errors.jsonl").exists()


def test_what_another_host_wrote_is_recorded_here(faked, tmp_path):
    """So that a later run may replace it."""
    summary, _ = faked(host="elsewhere", unseen=["05"])
    assert (summary.num_images, summary.unreadable) == (40, ())
    written = tmp_path / "out/labels"
    Outputs(tmp_path / "out", "predict").check(written.glob("*.png"))
    assert len(list(written.iterdir())) == 39


def test_a_worker_that_cannot_write_ends_the_job(faked):
    with pytest.raises(OSError, match="A worker has failed: OSError: disk full"):
        faked(fatal="OSError: disk full")


def test_the_process_that_sends_the_inputs_takes_no_gpu(monkeypatch):
    """JAX would take three quarters of the memory of each."""
    jax = pytest.importorskip("jax")
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    chosen = {}
    monkeypatch.setattr(jax.config, "update", chosen.__setitem__)
    cluster.leave_gpus_to_workers()
    assert chosen == {"jax_platforms": "cpu"}


@needs_ray
def test_a_worker_reports_what_went_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("training.prediction.worker._set_up", lambda *settings: None)
    worker = Worker(b"no job", "", threads=1)  # doesn't raise: Ray would start it again
    batch = {"item": np.array([pack_item("image", "x", tmp_path / "x.png")], object)}
    (row,) = map(json.loads, worker(batch)["row"].to_pylist())
    assert row["error"].startswith("UnpicklingError: ") and row["fatal"]


@needs_ray
def test_a_worker_predicts_whole_videos(finished_run, tmp_path, monkeypatch):
    """In this process, whose threads are as they are."""
    monkeypatch.setattr("training.prediction.worker._set_up", lambda *settings: None)
    for i in range(3):
        save(tmp_path / f"clip/{i}.png", (24, 20), seed=i)
    options = {"image_sequence": True, "save_frames": True}
    jobs = [
        PredictionJob((str(tmp_path / "clip"),), (str(finished_run),), tmp_path / out, **options)
        for out in ("one", "many")
    ]
    predict(jobs[0])
    write_manifest(jobs[1].out, {}, resume=False)
    worker = Worker(pickle.dumps(jobs[1]), "", threads=1)
    batch = {"item": np.array([pack_item("video", "clip", tmp_path / "clip")], object)}
    (row,) = map(json.loads, worker(batch)["row"].to_pylist())
    _, result = unpack_result(row)
    assert (result.kind, result.frames, result.problems) == ("video", 3, [])
    one, many = (contents(tmp_path / out, "*.png") for out in ("one", "many"))
    assert one == many and len(one) == 3
    assert jobs[1].written_video("clip").result("clip") == result


@needs_ray
@pytest.mark.parametrize("model", ["dpn_scenes", str(EXPORTED)])
def test_a_worker_holds_a_preset_or_an_exported_model(model, tmp_path, monkeypatch):
    """In this process, as above."""
    monkeypatch.setattr("training.prediction.worker._set_up", lambda *settings: None)
    path = save(tmp_path / "in/x.png", (40, 30))
    jobs = [PredictionJob((str(path),), (model,), tmp_path / out) for out in ("one", "many")]
    predict(jobs[0])
    (jobs[1].out / "labels").mkdir(parents=True)
    worker = Worker(pickle.dumps(jobs[1]), "", threads=1)
    batch = {"item": np.array([pack_item("image", "x", path)], object)}
    (row,) = map(json.loads, worker(batch)["row"].to_pylist())
    assert unpack_result(row)[1].is_written
    one, many = (contents(tmp_path / out, "*.png") for out in ("one", "many"))
    assert one == many and len(one) == 1


# -------------------------------------------------------------------- with Ray


@pytest.fixture(scope="session")
def local_ray():
    """A cluster of this machine's processors."""
    ray = pytest.importorskip("ray")
    ray.init(
        address="local",
        num_cpus=PROCESSORS,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
    )
    yield ClusterOptions("local", workers=1, cpus=PROCESSORS)
    ray.shutdown()


@needs_ray
@pytest.mark.tensorflow_only
def test_a_cluster_writes_what_one_process_writes(local_ray, finished_run, tmp_path, monkeypatch):
    """Bit by bit: images of several sizes, in folders and in an archive, one of them broken."""
    for i in range(5):
        save(tmp_path / f"in/{'ab'[i % 2]}/{i}.png", (20 + 4 * i, 24), seed=i)
    (tmp_path / "in/b/broken.png").write_bytes(b"no image")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(save(tmp_path / "6.png", (33, 21), seed=6), "far/6.png")
    monkeypatch.chdir(tmp_path)  # relative paths are of this process, not of the workers
    jobs = {
        name: PredictionJob(
            ("in", f"zip://*/*.png::{tmp_path}/more.zip"),
            (os.path.relpath(finished_run),),
            Path(name),
            probabilities=True,
            resume=True,
            manifest=tmp_path / f"{name}.jsonl",
            cluster=options,
        )
        for name, options in {"one": None, "many": local_ray}.items()
    }
    summaries = [predict(job) for job in jobs.values()]
    assert [summary.num_images for summary in summaries] == [6, 6]
    assert [[p.name for p in s.unreadable] for s in summaries] == [["broken.png"]] * 2
    one, many = (contents(tmp_path / name, "*.png", "*.npz", "*.jsonl") for name in ("one", "many"))
    assert one == many
    assert len(one) == 2 * 6 + 2
    one, many = ((tmp_path / f"{name}.jsonl").read_text() for name in ("one", "many"))
    assert one.replace("one/labels", "many/labels") == many
    # Now nothing is left to do, and no worker starts.
    (tmp_path / "in/b/broken.png").unlink()
    assert predict(jobs["many"]).num_skipped == 6


@needs_ray
@pytest.mark.tensorflow_only
def test_a_cluster_counts_the_labels_of_a_dataset(local_ray, tmp_path):
    write_dataset(ScenesDataset({"train": 3}, size=(48, 64)), tmp_path)
    next((tmp_path / "images").iterdir()).write_bytes(b"no image")
    data = load_dataset("folder", tmp_path)
    here, there = scan_dataset(data), scan_dataset(data, cluster=local_ray)
    assert [issue.type for issue in here.errors].count("unreadable") == 1
    assert here.issues == there.issues and here.names == there.names
    for split in here.counts:
        np.testing.assert_array_equal(here.counts[split], there.counts[split])
