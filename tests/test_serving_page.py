"""The commands of docs/serving.md do what it says, with a local server in place of TensorFlow's."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_dpn.export import export
from tests.keras_dpn.export.test_saved_model import CLASSES, small_model
from tests.serving_peer import ServingPeer

pytestmark = pytest.mark.tensorflow_only
PAGE = (Path(__file__).parents[1] / "docs/serving.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server, and a folder with an image that is too large for an argument of curl."""
    folder = tmp_path_factory.mktemp("page")
    export(small_model(), folder / "street", outputs=["label_png"], classes=CLASSES, warmup=None)
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), "uint8")
    Image.fromarray(noise).save(folder / "street.jpg", quality=100)
    Image.fromarray(noise[:9, :8]).save(folder / "park.png")
    assert (folder / "street.jpg").stat().st_size > 96_000
    with ServingPeer(folder / "street", "street") as peer:
        yield folder, peer


def here(text, peer):
    """A command with the addresses of this server."""
    text = text.replace("http://localhost:8501", peer.rest)
    return text.replace("grpc://localhost:8500", peer.grpc)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(served):
    folder, peer = served
    commands = [block for block in SHELL if "curl" in block]
    assert len(commands) == 2
    for command in commands:
        run = subprocess.run(
            ["sh", "-ec", here(command, peer)], cwd=folder, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
    assert (folder / "street.json").stat().st_size > 150_000  # three characters per pixel
    labels = np.asarray(Image.open(io.BytesIO((folder / "street.png").read_bytes())))
    assert labels.shape == (200, 300) and labels.max() < 3
    assert (folder / "street.png").stat().st_size < 60_000


def test_python(served, monkeypatch, capsys):
    folder, peer = served
    monkeypatch.chdir(folder)
    (block,) = [block for block in PYTHON if "predict_many" in block]
    exec(here(block, peer), {})
    assert capsys.readouterr().out == "street.jpg (200, 300)\npark.png (9, 8)\n"
    (folder / "park.png").rename(folder / "elsewhere.png")
    exec(here(block, peer), {})
    assert "park.png" in capsys.readouterr().out.splitlines()[1]


def test_blocks_are_python():
    for block in PYTHON:
        compile(block, "serving.md", "exec")
