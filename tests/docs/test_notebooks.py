"""The notebooks run, in one kernel, and draw images."""

import os
import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
import nbformat  # noqa: E402
from jupyter_client.manager import KernelManager  # noqa: E402

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))}
IMAGES = {"crf": 3, "field": 5, "finetune": 2, "label": 5}
"""How many each draws at least."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A kernel for all of them: each would import TensorFlow once more."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    manager = KernelManager(kernel_name="python3")
    environment = {
        "PATH": programs,
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state")),
    }
    manager.start_kernel(env=os.environ | environment)
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(name, kernel, tmp_path):
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {tmp_path}"))
    nbclient.NotebookClient(notebook, km=kernel, timeout=280).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", ()) for output in outputs) >= IMAGES[name]
    errors = [output.text for output in outputs if output.get("name") == "stderr"]
    assert errors == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_kept_without_outputs(name):
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)
    assert name in (ROOT / "docs" / "notebooks.md").read_text("utf-8")
