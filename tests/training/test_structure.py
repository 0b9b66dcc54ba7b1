"""The shape of the source: relative imports inside training/, and no long modules."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 320
# Longer modules, and why.
LONG = {
    "keras_dpn/viz/pictures.py",  # one function per way to draw label maps
    "keras_dpn/viz/plots.py",  # one function per figure
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


@pytest.mark.parametrize("package", ["training", "keras_dpn"])
def test_modules_are_short(package):
    lengths = {
        name: len((ROOT / name).read_text(encoding="utf-8").splitlines())
        for name in MODULES
        if name.startswith(f"{package}/")
    }
    long = {name for name, length in lengths.items() if length > MAX_LINES}
    assert long == {name for name in LONG if name.startswith(f"{package}/")}
