"""The README's code does what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_are_python(block):
    compile(block, "README.md", "exec")


def test_the_composed_model_trains():
    names = {}
    exec(next(block for block in BLOCKS if "DeepParsingField(" in block), names)
    labels = np.random.default_rng(0).integers(0, 5, (2, 9, 7))
    history = names["model"].fit(np.zeros((2, 9, 7, 3)), labels, verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert 0 <= history["miou"][0] <= 1


def test_paths_in_the_text_exist():
    root = Path(__file__).parents[1]
    for path in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (root / path).exists(), path
