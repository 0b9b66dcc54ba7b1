"""docs/ARCHITECTURE.md draws the layers that import-linter checks, and names what exists."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]


def drawn(heading):
    """The modules of each line of the first block after a heading."""
    block = PAGE.split(f"## {heading}\n")[1].split("```text\n")[1].split("```")[0]
    lines = [re.split(r"\s{2,}", line)[0] for line in block.splitlines()]
    return [set(line.split(" | ")) for line in lines]


def contract(container):
    [layers] = [c["layers"] for c in CONTRACTS if c.get("containers") == [container]]
    return [set(layer.split(" | ")) for layer in layers]


def test_the_layers_drawn_are_those_checked():
    assert drawn("The library") == contract("keras_dpn")
    assert drawn("The command") == contract("training")


def test_contracts_are_exhaustive():
    assert all(c["exhaustive"] for c in CONTRACTS if c["type"] == "layers")


def test_files_named_exist():
    """Those in code that look like paths of this repository."""
    paths = re.findall(
        r"`((?:training|keras_dpn|tests|layers|ops|inference|models)/[\w./]+)`", PAGE
    )
    assert len(paths) > 8
    for path in paths:
        if "NAME" not in path:
            assert (ROOT / path).exists() or (ROOT / "keras_dpn" / path).exists(), path


def test_modules_named_exist():
    modules = re.findall(r"^ +((?:data|engine|evaluation)\.[\w.]+)", PAGE, re.MULTILINE)
    modules += re.findall(r"^ +(keras_dpn\.io\.images)", PAGE, re.MULTILINE)
    for name in modules:
        parts = name.split(".")
        base = ROOT if parts[0] == "keras_dpn" else ROOT / "training"
        found = [base.joinpath(*parts[:n]) for n in (len(parts), len(parts) - 1)]
        assert any(p.is_dir() or p.with_suffix(".py").is_file() for p in found[:1] + found[1:]), (
            name
        )
