"""What Sphinx is told in docs/_ext."""

import importlib.util
from pathlib import Path

import pytest
from sphinx.errors import SphinxError

EXTENSIONS = Path(__file__).parents[2] / "docs" / "_ext"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


docstrings, repository, cross_references = map(
    load, ("docstrings", "repository", "cross_references")
)


@pytest.mark.parametrize(
    ("markdown", "rst"),
    [
        ("Return `p`.", "Return ``p``."),
        ("`Conv2D`s", "``Conv2D``\\ s"),
        ("norm ||f_j|| of p_ and *S", "norm \\|\\|f_j\\|\\| of p\\_ and \\*S"),
        ("* a `b`", "* a ``b``"),
        ("Args:\n    **kwargs: of `f`.", "Args:\n    **kwargs: of ``f``."),
        ("``p|q`` `a*b`", "``p|q`` ``a*b``"),
        ("Args:\n    x: (B, *S).", "Args:\n    x: (B, \\*S)."),
        ("Returns:\n    A pair: two `x`.", ":Returns:\n    A pair: two ``x``."),
        ("Keys:\n    name: a word.", "Attributes:\n    name: a word."),
        ("Text:\n\n    k = a*b\n\nmore", "Text:\n\n::\n\n    k = a*b\n\nmore"),
        ("Example:\n    >>> f(*a)", "\n.. rubric:: Example\n\n>>> f(*a)\n"),
        (
            "| a | b |\n|---|---|\n| 1 | `x` |",
            ".. list-table::\n   :header-rows: 1\n\n   * - a\n     - b\n   * - 1\n     - ``x``\n",
        ),
    ],
)
def test_docstrings(markdown, rst):
    assert "\n".join(docstrings.to_rst(markdown.split("\n"))) == rst


@pytest.mark.parametrize(
    ("file", "markdown", "expected"),
    [
        ("README.md", "[docs/RESULTS.md](docs/RESULTS.md)", "[](/RESULTS.md)"),
        ("README.md", "[numbers](docs/RESULTS.md#scenes)", "[numbers](/RESULTS.md#scenes)"),
        ("README.md", "![a head](docs/stages.png)", "![a head](/stages.png)"),
        ("docs/serving.md", "[x](../saved_models/README.md)", "[x](/exported_models.md)"),
        ("docs/guides/crf.md", "[g](../gallery.md)", "[g](/gallery.md)"),
        ("README.md", "([examples](examples))", "(`examples`)"),
        ("README.md", "[the schema](training/configs/schema.py)", "the schema"),
        ("README.md", "[a](https://keras.io) [b](#c)", "[a](https://keras.io) [b](#c)"),
        ("README.md", "```python\nf[x](y)\n```", "```python\nf[x](y)\n```"),
    ],
)
def test_links(file, markdown, expected):
    assert repository.site_links(markdown, file) == expected


def test_links_to_nothing_are_refused():
    with pytest.raises(SphinxError, match=r"README\.md: links to docs/absent\.md"):
        repository.site_links("[x](docs/absent.md)", "README.md")


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("keras.src.models.model.Model", "keras.io/api/models/model/#model-class"),
        ("keras.layers.Dropout", "keras.io/api/layers/regularization_layers/dropout/"),
        ("collections.abc.Mapping", "library/collections.abc.html#collections.abc.Mapping"),
        ("numpy.ndarray", "reference/generated/numpy.ndarray.html"),
    ],
)
def test_addresses_of_other_projects(name, end):
    assert cross_references.external_address(name).endswith(end)


def test_unknown_names_have_no_address():
    assert cross_references.external_address("keras.Nothing") is None
    assert cross_references.external_address("keras_dpn.layers.Resize") is None
