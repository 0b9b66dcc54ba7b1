"""The files that publish the package agree with each other and with the code."""

import re
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

from keras_dpn.version import __version__
from tests.keras_dpn.support import to_numpy

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def blocks(text):
    """The Python blocks, also those in the items of a list."""
    found = re.findall(r"^( *)```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"(?m)^{indent}", "", code) for indent, code in found]


def run(*markers, **names):
    """What the contributors' blocks with the markers leave behind, run one after the other."""
    for marker in markers:
        [block] = [block for block in blocks(CONTRIBUTING) if marker in block]
        names.setdefault("__name__", "contributing")
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def unregistered():
    """Forget the classes that the blocks register."""
    registry = keras.saving.get_custom_objects
    before = dict(registry())
    yield
    for name in registry().keys() - before.keys():
        del registry()[name]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]
    readme = (ROOT / "README.md").read_text("utf-8").replace("\n", " ")
    for reference in citation["references"][:-2]:  # the last two are named by their authors
        assert reference["title"] in readme, reference["title"]


def test_the_changelog_begins_with_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)[1] == __version__


@pytest.mark.parametrize(
    "path",
    [".pre-commit-config.yaml", *(str(p.relative_to(ROOT)) for p in ROOT.glob(".github/**/*.yml"))],
)
def test_yaml_is_read(path):
    assert yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_the_workflow_calls_targets_that_exist():
    text = (ROOT / ".github/workflows/tests.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    targets = {
        *jobs["check"]["strategy"]["matrix"]["target"],
        *re.findall(r"run: make (\w+)", text),
    }
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert targets <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    pythons = jobs["check"]["strategy"]["matrix"]["python"]
    assert {f"Programming Language :: Python :: {v}" for v in pythons} <= set(
        PROJECT["classifiers"]
    )


def test_docker_copies_what_exists():
    for path in (ROOT / "docker").iterdir():
        text = path.read_text("utf-8").replace("${MODEL}", "scenes")
        for line in re.findall(r"^COPY (.*)", text, re.MULTILINE):
            *sources, _ = line.split()
            assert all((ROOT / source).exists() for source in sources), path.name


def test_commands_of_contributors_exist():
    """Each file that the text names is there, except those that a contributor adds."""
    new = re.compile(r"/(centered|tiny|lanes)\.py$|_build/")
    named = re.findall(r"`((?:keras_dpn|training|tests|docs)/[\w./]+)`", CONTRIBUTING)
    assert len(named) > 15
    for path in named:
        assert new.search(path) or (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", CONTRIBUTING, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_a_layer_is_added_as_written():
    names = run("def centered", "class Centered", "def test_layer")
    x = np.random.default_rng(0).random((1, 2, 3, 4), "float32")
    expected = 2 * (x - x.mean(axis=(1, 2)))
    np.testing.assert_allclose(to_numpy(names["Centered"](2.0)(x)), expected, rtol=1e-5)
    names["test_layer"]()


def test_a_network_is_added_as_written():
    names = run("class Tiny(", "class TinyTrainConfig")
    network, config = names["Tiny"], names["TinyTrainConfig"]
    model = network(num_classes=3, **vars(names["TinyConfig"](width=2)))
    assert model(np.zeros((1, 5, 4, 3), "uint8")).shape == (1, 5, 4, 3)
    assert model.head_names == tuple(stage.head for stage in config.stages)
    assert network.from_config(model.get_config()).count_params() == model.count_params()
    assert config.network == network.__name__
    assert config().summary() == ["width 16", "float32"]


def test_a_dataset_is_added_as_written(tmp_path):
    names = run("class LanesDataset")
    labels = np.array([[0, 1], [255, 0]], "uint8")
    for folder, array in (("rgb", np.zeros((2, 2, 3), "uint8")), ("masks", labels)):
        (tmp_path / folder).mkdir()
        Image.fromarray(array).save(tmp_path / folder / "a.png")
    (tmp_path / "train.txt").write_text("a\n")
    dataset = names["LanesDataset"](tmp_path)
    [example] = dataset.splits["train"]
    np.testing.assert_array_equal(dataset.read(example)[1], labels)


def test_a_recipe_is_added_as_written():
    [recipe] = run("dpn/scenes/wide")["RECIPES"].values()
    assert recipe.config.model.width == 0.25
    recipe.config.check()


def test_every_block_has_a_test():
    assert len(blocks(CONTRIBUTING)) == 7
