"""Kill a training run at random writes, resume it, and compare it with an undisturbed one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from . import Outcome

ROOT = Path(__file__).parents[2]
KILLS = 30
KILLS_IN_A_ROW = 5  # before a run may end
# The scenes of the recipe, few and small, and a network that a CPU trains in seconds.
OPTIONS = (
    *("--model.width", "0.04", "--model.backbone.name", "large_fov"),
    *("--model.local-conv.window", "5", "--model.contexts.window", "3"),
    *("--model.contexts.mixtures", "2", "--model.pairwise-stride", "4"),
    *("--data.batch-size", "2", "--data.augmentation.crop", "32", "48"),
    *("--precision", "float32", "--unary.epochs", "2", "--triple.epochs", "1"),
    *("--contexts.epochs", "1", "--joint.epochs", "1"),
)
# Trains, counts what it opens for writing, renames and removes in the run's directory, and kills
# itself before the N-th of these; the last argument is N, 0 for none.
CHILD = """
import os, signal, sys
*arguments, folder, limit = sys.argv[1:]
count = 0

def hook(event, args):
    global count
    if event == "open":
        path, mode, flags = args
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:
        path, writes = args[0] if args else None, event in ("os.rename", "os.remove", "os.mkdir")
    if writes and isinstance(path, str | os.PathLike) and str(path).startswith(folder):
        count += 1
        if count == int(limit):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
from training.cli import main
code = main(arguments)
print("WRITES", count)
sys.exit(code)
"""


def run(folder: Path, seed: int, scale: float) -> list[Outcome]:
    """Return how many kills a run survived, and whether it ended bit by bit as undisturbed."""
    data = folder / "data"
    _call(["generate", "scenes", "--out", str(data), "--num-images", "8"], folder)
    expected, text = folder / "undisturbed", _train(data, folder / "undisturbed", 0)
    writes = int(text.rsplit("WRITES", 1)[1])
    rng, kills, rows, failures = np.random.default_rng(seed), max(1, round(KILLS * scale)), 0, []
    done = 0
    while done < kills:
        work_dir = folder / f"killed_{rows}"
        rows += 1
        for _ in range(min(KILLS_IN_A_ROW, kills - done)):
            limit = int(rng.integers(1, max(2, writes // 2)))
            _train(data, work_dir, limit, killed=True)
            done += 1
        _train(data, work_dir, 0)
        failures += [f"{work_dir.name}: {name}" for name in _differences(expected, work_dir)]
    trial = f"{done} kills before random writes ({writes} in an undisturbed run), in {rows} runs"
    return [Outcome(trial, "bit-equal" if not failures else "different", tuple(failures))]


def _train(data: Path, work_dir: Path, limit: int, killed: bool = False) -> str:
    arguments = ["train", "dpn/folder", "--data-dir", str(data), "--work-dir", str(work_dir)]
    return _call([*arguments, *OPTIONS, "--resume"], work_dir, limit, killed)


def _call(arguments: list[str], folder: Path, limit: int = 0, killed: bool = False) -> str:
    command = [sys.executable, "-c", CHILD, *arguments, str(folder), str(limit)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    if done.returncode not in ((0, -9) if killed else (0,)):
        raise RuntimeError(f"{arguments}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _differences(first: Path, second: Path) -> list[str]:
    """Return what differs in the weights and the history of two runs."""
    from training.rundir.models import load_model

    weights = [load_model(path).get_weights() for path in (first, second)]
    histories = [json.loads((path / "history.json").read_text()) for path in (first, second)]
    differ = {
        "weights": not all(np.array_equal(a, b) for a, b in zip(*weights, strict=True)),
        "history": histories[0] != histories[1],
    }
    return [name for name, is_different in differ.items() if is_different]
