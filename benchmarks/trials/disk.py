"""Fill small disks while models, checkpoints and results are written to them."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from . import Outcome

ROOT = Path(__file__).parents[2]
SIZES = tuple(200_000 + 60_000 * n for n in range(31))  # bytes, to 2 MB
# Writes each kind of file to a directory, smaller ones first, and prints each error.
CHILD = """
import sys
from pathlib import Path
import keras, numpy as np
from keras_dpn import Classes, models
from keras_dpn.presets import Card
from training.engine.checkpoints import Checkpoints
from training.utils.files import write_bytes

folder = Path(sys.argv[1])
keras.utils.set_random_seed(0)
model = models.FCN(2, width=0.0625)
old = b"0" * 10_000
write_bytes(folder / "old", old)
def checkpoint():
    for epoch in range(20):
        model.layers[-1].set_weights(model.layers[-1].get_weights())
        Checkpoints(folder / "checkpoints").save(model, None, {"epoch": epoch})
def preset():
    for n in range(20):
        model.save_to_preset(folder / f"preset{n}", card=Card())
def replace():
    write_bytes(folder / "old", b"1" * 3_000_000)
for write in (replace, checkpoint, preset):
    try:
        write()
        print("NO ERROR", write.__name__)
    except OSError as error:
        print("ERROR", write.__name__, str(error).replace("\\n", " "))
    assert (folder / "old").read_bytes() == old
    latest = Checkpoints(folder / "checkpoints")
    if latest.latest():
        latest.restore_model(model)
    for path in folder.glob("preset*"):
        models.from_preset(path)
assert not [path for path in folder.iterdir() if path.name.startswith(".")]
"""


def run(folder: Path, seed: int, scale: float) -> list[Outcome]:
    """Return what became of writers on disks of 200 kB to 2 MB."""
    sizes = SIZES[:: max(1, round(1 / scale))]
    failures = []
    for size in sizes:
        try:
            with _disk(folder / f"disk_{size}", size) as disk:
                failures += [f"{size} bytes: {problem}" for problem in _write(disk)]
        except PermissionError:
            return [Outcome("full disks", "not run: needs the right to mount a tmpfs")]
    trial = f"{len(sizes)} disks of {sizes[0] // 1000} to {sizes[-1] // 1000} kB filled by a file, "
    trial += "checkpoints and presets"
    result = "each error names the file, and what was there before is complete"
    return [Outcome(trial, result if not failures else "failed", tuple(failures))]


def _write(disk: Path) -> list[str]:
    command = [sys.executable, "-c", CHILD, str(disk)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    problems = (
        [] if done.returncode == 0 else [f"exit code {done.returncode}: {done.stderr[-300:]}"]
    )
    for line in done.stdout.splitlines():
        named = (
            "No space left on device" in line and "bytes are needed" in line and str(disk) in line
        )
        if not named and line not in ("NO ERROR checkpoint", "NO ERROR preset"):  # which may fit
            problems.append(line)
    return problems


@contextmanager
def _disk(path: Path, size: int):
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise PermissionError from error
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)
