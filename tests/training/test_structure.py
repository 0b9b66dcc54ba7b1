"""The shape of the source: relative imports inside training/, and no long modules."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_LINES = 320
# Longer modules: one class or algorithm each with its documentation.
LONG = {
    "keras_dpn/layers/mean_field_crf.py",
    "keras_dpn/models/piecewise_crf.py",
    "training/engine/trainer.py",
}
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("training", "keras_dpn")
    for path in (ROOT / package).rglob("*.py")
)


def imported(tree):
    """Yield the absolute names of modules that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def test_imports_inside_training_are_relative():
    """The wheel installs training/ under another name."""
    assert any(name.startswith("training/") for name in MODULES)
    absolute = [
        name
        for name in MODULES
        if any(
            module.split(".")[0] == "training"
            for module in imported(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        )
    ]
    assert absolute == []


def test_modules_are_short():
    lengths = {
        name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in MODULES
    }
    assert {name for name, length in lengths.items() if length > MAX_LINES} <= LONG
    assert set(MODULES) >= LONG
