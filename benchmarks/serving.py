"""A served model: overhead, cold start, a soak, batches, fuzzed inputs, killed exports, all sizes.

    python -m benchmarks.serving [--parts overhead cold-start soak batch fuzz kill sizes]
                                 [--width 0.25] [--requests 1000] [--fuzzed 10000] [--kills 20]

The server is tests/serving_peer.py in a process of its own, as TensorFlow Serving's binary is on no
package registry: latencies hold its Python too. The network has random weights. Each line is
printed when it is known; together they are a table. Memory is the server's, as Linux tells it.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import contextlib
import io
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
import tyro
from PIL import Image

from keras_dpn.client import Client, Prediction, ServingError
from keras_dpn.export import export
from keras_dpn.models import DPN
from training.data.generated.scenes import ScenesDataset

Part = Literal["overhead", "cold-start", "soak", "batch", "fuzz", "kill", "sizes"]
# What was measured, what came out, what should.
Line = tuple[str, str, str]

SIZE = (360, 480)
REPEATS = 20
PARALLEL = 8
BATCH = 8
SETTLED = 100  # requests until the memory should no longer grow
FUZZED_SIZE = (48, 64)
LARGEST = (1024, 2048)

COLD_START = """
import json, sys, time
import tensorflow as tf
directory, image, warmup = sys.argv[1:]
times = [time.perf_counter()]
served = tf.saved_model.load(directory).signatures["serving_default"]
if warmup:
    served(tf.constant([open(warmup, "rb").read()]))
data = tf.constant([open(image, "rb").read()])
times.append(time.perf_counter())
for _ in range(2):
    served(data)["labels"].numpy()
    times.append(time.perf_counter())
print(json.dumps([b - a for a, b in zip(times, times[1:])]))
"""
EXPORT = """
import sys
from benchmarks.serving import network
from keras_dpn.export import export
model = network(float(sys.argv[2]))
print("begins", flush=True)
export(model, sys.argv[1])
print("ends", flush=True)
"""


def main(
    parts: tuple[Part, ...] = ("overhead", "cold-start", "soak", "batch", "fuzz", "kill", "sizes"),
    width: float = 0.25,
    requests: int = 1000,
    fuzzed: int = 10_000,
    kills: int = 20,
) -> None:
    """Measures a served model part by part, and prints a table.

    Args:
        parts: which ones.
        width: of the network, DPN on DeepLab's LargeFOV backbone.
        requests: of the soak.
        fuzzed: inputs.
        kills: exports that are killed.
    """
    work: dict[Part, Callable[[Path], Iterator[Line]]] = {
        "overhead": lambda scratch: overhead(scratch, width),
        "cold-start": lambda scratch: cold_start(scratch, width),
        "soak": lambda scratch: soak(scratch, width, requests),
        "batch": lambda scratch: batch(scratch, width),
        "fuzz": lambda scratch: fuzz(scratch, width, fuzzed),
        "kill": lambda scratch: kill(scratch, width, kills),
        "sizes": lambda scratch: sizes(scratch, width),
    }
    print("| measure | result | target |\n|---|---|---|", flush=True)
    for part in parts:
        with tempfile.TemporaryDirectory() as scratch:
            for line in work[part](Path(scratch)):
                print(f"| {' | '.join(line)} |", flush=True)


def overhead(scratch: Path, width: float) -> Iterator[Line]:
    """The signatures and the network's own graph, alternately."""
    model = network(width)
    spec = tf.TensorSpec((None, None, None, 3), "uint8")
    graph = tf.function(lambda x: model(x, training=False), [spec], autograph=False)
    served = tf.saved_model.load(export(model, scratch, warmup=None)).signatures
    image = sample_image()
    images, files = tf.constant(image[None]), tf.constant([encoded(image, "JPEG")])
    seconds = in_turn(
        {
            "graph": lambda: graph(images).numpy(),
            "image": lambda: served["image"](images)["labels"].numpy(),
            "serving_default": lambda: served["serving_default"](files)["labels"].numpy(),
        }
    )
    bare = seconds.pop("graph")
    for name, found in seconds.items():
        yield (
            f"`{name}` over the bare graph ({1000 * bare:.0f} ms), {image.shape[0]}x"
            f"{image.shape[1]}" + (", JPEG" if name == "serving_default" else ""),
            f"{found / bare - 1:+.1%}",
            "at most 10%",
        )


def cold_start(scratch: Path, width: float) -> Iterator[Line]:
    """A process that loads the model and answers, with and without a request for warming up."""
    path = export(network(width), scratch / "model", warmup=None)
    asked, grey = scratch / "asked.jpg", scratch / "grey.jpg"
    asked.write_bytes(encoded(sample_image(), "JPEG"))
    grey.write_bytes(encoded(np.full((256, 256, 3), 128, "uint8"), "JPEG"))
    for name, warmup in (("without warm-up", ""), ("with warm-up", str(grey))):
        command = [sys.executable, "-c", COLD_START, str(path), str(asked), warmup]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        ready, first, second = json.loads(done.stdout)
        result = f"ready after {ready:.2f} s, first answer {first:.2f} s, second {second:.2f} s"
        yield f"cold start {name}", result, "stated"


def soak(scratch: Path, width: float, requests: int) -> Iterator[Line]:
    """Images of mixed sizes, several at a time, over each protocol."""
    export(network(width), scratch / "model")
    rng, image = np.random.default_rng(0), sample_image()
    corners = [rng.integers(SIZE[0] // 4, np.array(SIZE) + 1) for _ in range(20)]
    files = [encoded(image[:h, :w], "JPEG") for h, w in corners]
    for protocol in ("grpc", "rest"):
        with peer(scratch / "model") as (process, addresses):
            seconds, memory = asked(process, addresses[protocol], files, requests)
            p50, p95, p99 = np.percentile(seconds, (50, 95, 99))
            name = f"soak over {protocol}, {requests} requests, {PARALLEL} at a time"
            yield name, f"p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s", "stated"
            first = min(SETTLED, requests // 2)
            settled = memory[first:]
            tenth = max(1, len(settled) // 10)
            before = statistics.median(settled[:tenth])
            after = statistics.median(settled[-tenth:])
            result = f"{before:.0f} MiB, at the end {after:.0f} MiB"
            yield f"memory after the first {first} over {protocol}", result, "no growth"


def asked(
    process: subprocess.Popen, address: str, files: Sequence[bytes], requests: int
) -> tuple[list[float], list[float]]:
    """Seconds of each request, and the server's memory (MiB) after it."""
    memory: list[float] = []

    def ask(data: bytes) -> float:
        started = time.perf_counter()
        client.predict(data)
        seconds = time.perf_counter() - started
        memory.append(resident(process))
        return seconds

    with patient(address) as client, ThreadPoolExecutor(PARALLEL) as executor:
        client.predict(files[0])  # TensorFlow Serving's warm-up requests, in short
        return list(executor.map(ask, (files[i % len(files)] for i in range(requests)))), memory


def batch(scratch: Path, width: float) -> Iterator[Line]:
    """Images of one size, alone and together."""
    path = export(network(width), scratch, warmup=None)
    served = tf.saved_model.load(path).signatures["serving_default"]
    for size in (SIZE, (90, 120)):
        data = encoded(sample_image()[: size[0], : size[1]], "JPEG")
        alone, together = tf.constant([data]), tf.constant([data] * BATCH)
        seconds = in_turn(
            {
                "alone": lambda alone=alone: [served(alone) for _ in range(BATCH)][-1],
                "together": lambda together=together: served(together)["labels"].numpy(),
            }
        )
        rates = {name: BATCH / found for name, found in seconds.items()}
        result = f"{rates['together']:.1f} images/s, one by one {rates['alone']:.1f}"
        yield f"{BATCH} images of {size[0]}x{size[1]} in a request", result, "stated"


def fuzz(scratch: Path, width: float, count: int) -> Iterator[Line]:
    """Mutated files and random bytes: each is an answer or refused, and the server lives."""
    export(network(width), scratch / "model", max_pixels=4 * FUZZED_SIZE[0] * FUZZED_SIZE[1])
    image = sample_image()[: FUZZED_SIZE[0], : FUZZED_SIZE[1]]
    files = [encoded(image, form) for form in ("JPEG", "PNG")]
    rng, found, memory = np.random.default_rng(0), Counter(), []
    inputs = (mutated(files, rng) for _ in range(count))
    with (
        peer(scratch / "model") as (process, addresses),
        patient(addresses["grpc"]) as client,
    ):
        for answer in client.predict_many(inputs, PARALLEL):
            found[kind_of(answer)] += 1
            memory.append(resident(process))
        alive = process.poll() is None
    result = ", ".join(f"{number} {kind}" for kind, number in found.most_common())
    crash = "no crash" if alive else "the server crashed"
    yield f"{count} fuzzed inputs", f"{result}; {crash}", "each an error or a result, no crash"
    before = memory[min(1000, count // 2)]
    yield "memory while fuzzed", f"{before:.0f} MiB, at the end {memory[-1]:.0f} MiB", "flat"


def mutated(files: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """A file with bytes changed, cut off or put in; or random bytes."""
    kind = rng.integers(8)
    if kind == 0:
        return rng.bytes(rng.integers(2000))
    content = bytearray(files[rng.integers(len(files))])
    # Half of the changes lie in the header, which would else be spared.
    end = 64 if rng.integers(2) else len(content)
    if kind == 1:
        return bytes(content[: rng.integers(len(content))])
    if kind == 2:
        at = rng.integers(end)
        content[at:at] = rng.bytes(rng.integers(1, 20))
    for _ in range(rng.integers(1, 9)):
        content[rng.integers(end)] = rng.integers(256)
    return bytes(content)


def kind_of(answer: Prediction | Exception) -> str:
    """What became of a fuzzed input."""
    if isinstance(answer, Prediction):
        return "answered"
    refused = isinstance(answer, ServingError) and answer.status == "INVALID_ARGUMENT"
    return "refused" if refused else f"failed ({answer})"


def kill(scratch: Path, width: float, kills: int) -> Iterator[Line]:
    """Exports that kill -9 meets at moments spread over the time that one takes."""
    directory = scratch / "model"
    with exporting(directory, width) as process:
        started = time.perf_counter()
        process.wait()
        whole = time.perf_counter() - started
    loaded = complete = 0
    for i in range(kills):
        with exporting(directory, width) as process:
            time.sleep(whole * (i + 0.5) / kills)
            process.send_signal(signal.SIGKILL)
            process.wait()
        versions = [path for path in directory.iterdir() if path.name.isdecimal()]
        complete = len(versions) - 1
        loaded += all(answers(path) for path in versions)
    result = f"all versions load after {loaded} of {kills}, {complete} exports came through"
    yield f"kill -9 during an export of {whole:.1f} s", result, "never one that doesn't load"


@contextlib.contextmanager
def exporting(directory: Path, width: float) -> Iterator[subprocess.Popen]:
    """A process that is about to export."""
    command = [sys.executable, "-c", EXPORT, str(directory), str(width)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **quiet) as process:
        process.stdout.readline()
        yield process


def answers(path: Path) -> bool:
    """Whether a version loads and answers."""
    try:
        served = tf.saved_model.load(path).signatures["image"]
        return served(tf.zeros((1, 8, 9, 3), "uint8"))["labels"].shape == (1, 8, 9)
    except (OSError, ValueError, tf.errors.OpError):
        return False


def sizes(scratch: Path, width: float) -> Iterator[Line]:
    """The smallest image, the largest, and ten between."""
    export(network(width), scratch / "model")
    rng = np.random.default_rng(0)
    between = np.exp(rng.uniform(0, np.log(LARGEST), (10, 2))).astype(int)
    asked = [(1, 1), *map(tuple, between.tolist()), LARGEST]
    images = [rng.integers(0, 256, (*size, 3), "uint8") for size in asked]
    with peer(scratch / "model") as (_, addresses), patient(addresses["grpc"]) as client:
        found = [client.predict(image).labels.shape for image in images]
    right = sum(a == b for a, b in zip(found, asked, strict=True))
    names = ", ".join(f"{h}x{w}" for h, w in asked)
    result = f"{right} of {len(asked)} have the input's size"
    yield f"sizes {names}", result, "output of the input's size"


def network(width: float) -> keras.Model:
    """The network that is served."""
    keras.utils.set_random_seed(0)
    return DPN(6, backbone="large_fov", width=width, pairwise_stride=4)


def sample_image() -> np.ndarray:
    """A generated scene."""
    dataset = ScenesDataset({"val": 1}, SIZE)
    return dataset.read(dataset.splits["val"][0])[0]


def encoded(image: np.ndarray, form: str) -> bytes:
    """An image as the bytes of a file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, form)
    return stream.getvalue()


def in_turn(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median seconds of each call; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS + 2):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(found[2:]) for name, found in seconds.items()}


@contextlib.contextmanager
def peer(directory: Path) -> Iterator[tuple[subprocess.Popen, dict[str, str]]]:
    """A server in a process of its own, and its addresses by protocol.

    Raises:
        RuntimeError: if it doesn't start.
    """
    command = [sys.executable, "-m", "tests.serving_peer", str(directory), directory.name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    log = directory.with_name("peer.log")  # with what TensorFlow thinks of broken JPEGs
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr, **pipes) as process:
        addresses = process.stdout.readline()
        if not addresses:
            raise RuntimeError(
                f"The server ended with exit code {process.wait()} before it was ready:\n"
                f"{log.read_text(errors='replace')[-2000:]}"
            )
        yield process, json.loads(addresses)
        process.stdin.close()


def patient(address: str) -> Client:
    """A client that asks once, and waits."""
    return Client(address, "model", attempts=1, timeout=300, deadline=300)


def resident(process: subprocess.Popen) -> float:
    """What a process takes of the memory, MiB; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    tyro.cli(main)
