"""The commands of the files for clusters are complete; they begin no run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from training import cli

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples" / "cluster").iterdir())
VALUES = {
    "$work_dir": "runs/w",
    "$coordinator": "node0:29400",
    "$processes": "2",
    "$process": "1",
    "$JOB_COMPLETION_INDEX": "1",
}


def command(text):
    """The arguments of the file's only keras-dpn, over several lines."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    start = next(i for i, line in enumerate(lines) if "keras-dpn train" in line)
    words = lines[start].partition("keras-dpn ")[2]
    for line in lines[start + 1 :]:
        if not line.strip().startswith("--"):
            break
        words += " " + line
    return [VALUES.get(word, word) for word in shlex.split(words)]


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_the_backend_is_another(path, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert re.search(r"KERAS_BACKEND=jax|name: KERAS_BACKEND\n +value: jax", text)
    args = command(text)
    assert "--coordinator" in args and "--resume" in args
    assert cli.main(args) == 2
    assert "set KERAS_BACKEND=jax; received tensorflow" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize("path", [path for path in FILES if path.suffix != ".yaml"])
def test_scripts_are_bash(path):
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_job_finds_its_service():
    service, job = yaml.safe_load_all((ROOT / "examples/cluster/kubernetes.yaml").read_text())
    template = job["spec"]["template"]["spec"]
    assert template["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    args = command(template["containers"][0]["command"][-1])
    values = dict(zip(args, args[1:], strict=False))
    first = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert values["--coordinator"].split(":")[0] == first
    assert int(values["--num-processes"]) == job["spec"]["completions"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    gpus = template["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert int(values["--data.batch-size"]) % (int(values["--num-processes"]) * gpus) == 0
