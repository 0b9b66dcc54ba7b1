"""What a Ray cluster on this machine costs and saves, what it needs, and what it survives.

    python -m benchmarks.cluster_prediction throughput
    python -m benchmarks.cluster_prediction memory --count 20000
    python -m benchmarks.cluster_prediction nodes

`throughput` labels generated images with one process and with 1 and 2 workers of one thread each. A
rate is that of the last three quarters of the files by their times, so it leaves out the start of
the processes. `memory` labels many small images with a network of one convolution, and samples the
memory of the processes. `nodes` kills one of two nodes when half of the images are labelled, and
checks that the results are those of one process.
"""

import collections
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tyro
from PIL import Image

from training.data.generated.scenes import ScenesDataset
from training.prediction.job import predict
from training.prediction.settings import PredictionJob
from training.utils.ray_cluster import ClusterOptions


def main(
    measure: tyro.conf.Positional[Literal["throughput", "memory", "nodes"]],
    count: int = 300,
    preset: str = "dpn_scenes",
    size: tuple[int, int] = (120, 160),
) -> None:
    """Measures prediction on a cluster.

    Args:
        measure: what.
        count: images.
        preset: the network, except that of `memory`.
        size: height and width of the images, except those of `memory`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        if measure == "memory":
            write_images(folder / "in", count, (24, 32))
            measure_memory(folder, one_convolution(folder / "preset"))
            return
        write_images(folder / "in", count, size)
        if measure == "throughput":
            measure_throughput(folder, preset)
        else:
            kill_a_node(folder, preset)


def write_images(folder, count, size):
    """Writes noise, by hundreds in a folder."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 100:03}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (*size, 3), "uint8")).save(path)


def one_convolution(path):
    """Writes a run whose network is one convolution."""
    path.mkdir()
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(11, 1)])
    model.save(path / "model.keras")
    classes = ScenesDataset({"train": 1}).classes
    (path / "classes.json").write_text(json.dumps(classes.to_json()))
    return str(path)


def command(folder, out, preset, *options):
    """Returns the command that labels the images."""
    program = [sys.executable, "-m", "training", "predict", folder / "in", "--model", preset]
    return [*map(str, program), "--out", str(folder / out), *options]


def measure_throughput(folder, preset):
    """Prints images per second of one process and of workers, and the seconds of the command."""
    rates = {}
    for name, options in {
        "one process": (),
        "1 worker": ("--ray", "local", "--workers", "1"),
        "2 workers": ("--ray", "local", "--workers", "2"),
    }.items():
        out = name.replace(" ", "_")
        threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        start = time.perf_counter()
        run = command(folder, out, preset, *options)
        subprocess.run(run, env=os.environ | threads, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        times = sorted(path.stat().st_mtime for path in (folder / out / "labels").rglob("*.png"))
        first = len(times) // 4
        rates[name] = (len(times) - 1 - first) / (times[-1] - times[first])
        print(f"{name:12} {rates[name]:6.1f} images/s, {seconds:5.0f} s in all", flush=True)
    overhead = 1 / rates["1 worker"] - 1 / rates["one process"]
    print(f"overhead of a worker: {1000 * overhead:.1f} ms per image")


@contextmanager
def sampling(action, seconds):
    """Calls a function again and again while the block runs."""
    done = threading.Event()

    def loop():
        while not done.wait(seconds):
            action()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join()


def measure_memory(folder, preset):
    """Prints the memory of this process and of the workers by quarters of the job."""
    peaks = collections.defaultdict(lambda: collections.defaultdict(int))
    total = sum(1 for _ in (folder / "in").rglob("*.png"))
    log = folder / "state/keras-dpn"

    def sample():
        written = sum(path.read_bytes().count(b"\n") for path in log.glob("*.jsonl"))
        for name, used in resident().items():
            quarter = min(4 * written // total, 3)
            peaks[name][quarter] = max(peaks[name][quarter], used)

    options = ClusterOptions("local", workers=2)
    job = PredictionJob((str(folder / "in"),), (preset,), folder / "out", cluster=options)
    with sampling(sample, 2.0):
        summary = predict(job)
    print(f"{summary.num_images} images; peak in MiB by quarters of the job:")
    for name, by_quarter in peaks.items():
        print(f"{name:12}", *(by_quarter[quarter] >> 20 for quarter in range(4)))


def resident():
    """Returns the bytes of memory of this process and of the largest worker."""
    found = {"this process": rss(os.getpid()), "worker": 0, "object store": 0}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::") and b"MapWorker" in name:
            found["worker"] = max(found["worker"], rss(entry.name))
        if b"raylet/raylet" in name:
            status = (entry / "status").read_text()
            shared = next((x for x in status.splitlines() if x.startswith("RssShmem")), "0 0")
            found["object store"] = max(found["object store"], 1024 * int(shared.split()[1]))
    return found


def rss(pid):
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def kill_a_node(folder, preset):
    """Kills one of two nodes in the middle of a job."""
    from ray.cluster_utils import Cluster

    node_args = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    nodes = Cluster(initialize_head=True, head_node_args={**node_args, "include_dashboard": False})
    second = nodes.add_node(**node_args)
    labels = folder / "many/labels"
    total = sum(1 for _ in (folder / "in").rglob("*.png"))
    killed = []

    def kill():
        written = sum(1 for _ in labels.rglob("*.png")) if labels.exists() else 0
        if written >= total // 2 and not killed:
            killed.append(written)
            nodes.remove_node(second, allow_graceful=False)
            print(f"one of two nodes killed after {written} of {total} images", flush=True)

    many = ClusterOptions(nodes.address, workers=2)
    start = time.perf_counter()
    job = PredictionJob((str(folder / "in"),), (preset,), folder / "many", cluster=many)
    with sampling(kill, 0.2):
        summary = predict(job)
    assert killed
    seconds = time.perf_counter() - start
    print(f"{summary.num_images} images after {seconds:.0f} s; errors: {summary.unreadable}")
    record = next((folder / "state/keras-dpn").glob("*.jsonl")).read_text().splitlines()
    times = collections.Counter(json.loads(line)[0] for line in record)
    twice = sum(1 for name, written in times.items() if written > 1)
    print(f"{len(times)} files written, {twice} of them twice")
    nodes.shutdown()
    run = command(folder, "one", preset)
    env = os.environ | {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    subprocess.run(run, env=env, check=True, stdout=subprocess.DEVNULL)
    names = [path.relative_to(labels) for path in labels.rglob("*.png")]
    one = folder / "one/labels"
    equal = sum((labels / name).read_bytes() == (one / name).read_bytes() for name in names)
    print(f"{equal} of {total} label maps equal those of one process")


if __name__ == "__main__":
    tyro.cli(main)
