"""The pages of the site: their code runs, their commands exist, the reference is complete."""

import functools
import importlib
import inspect
import re
import shlex
import sys
import tomllib
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest
from PIL import Image

import keras_dpn
from training import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Their code has tests of its own.
TESTED = {"docs/coming_from_pydensecrf.md", "docs/serving.md", "CONTRIBUTING.md"}
# Requests to a server, an exported network for clips, PyTorch, KerasHub: tests of the client, of
# export and of the examples.
NEEDS_MORE = ("keras_dpn.client", "clip_with_flow", "import torch", "import keras_hub")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [ROOT / "README.md", *ROOT.glob("saved_models/*.md"), *DOCS.rglob("*.md")]
    if "generated" not in path.parts and "_build" not in path.parts
}
API = [path for path in PAGES if path.startswith("docs/api/") and not path.endswith("index.md")]


def code(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    if page not in TESTED
    for number, block in enumerate(code(page, "python"))
    if not any(word in block for word in NEEDS_MORE)
]


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A directory with the files that the pages name, for files that they write."""
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), "uint8")
    for name in ("scene.png", "photo.jpg", "street.jpg"):
        Image.fromarray(image).save(name)
    Path("saved_models").mkdir()
    Path("saved_models/NAME").symlink_to(ROOT / "saved_models" / "scenes")


@pytest.fixture
def small_networks(monkeypatch):
    """Networks of a 64th of the width, where the pages build them as large as the papers'."""
    for name in ("DPN", "DeepLab", "FCN", "ParseNet"):
        network = getattr(keras_dpn.models, name)
        monkeypatch.setattr(network, "__init__", narrow(network.__init__))


def narrow(init):
    @functools.wraps(init)
    def __init__(self, *args, width=1.0, **kwargs):
        init(self, *args, width=1 / 64 if width == 1.0 else width, **kwargs)

    __init__.__signature__ = inspect.signature(init)
    return __init__


def before(block):
    """What blocks of the README take from the block before them."""
    if "SpatialTemporalDPN.from_dpn(model" in block and "model =" not in block:
        return {"model": keras_dpn.models.DPN(num_classes=3, backbone="large_fov")}
    if "export(model" in block:
        return {
            "model": keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
        }
    return {}


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("block", BLOCKS)
def test_code_runs(block, directory, request):
    if "dpn_camvid" not in block:  # whose weights are those of the whole width
        request.getfixturevalue("small_networks")
    if "fit(" in block or "scales=(" in block:
        request.getfixturevalue("eager")
    exec(compile(block, "page", "exec"), {"__name__": "page", **before(block)})


@pytest.mark.tensorflow_only
def test_the_gallery_is_drawn(directory):
    """Its blocks share their variables; the site shows their figures."""
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    text = PAGES["docs/gallery.md"]
    blocks = re.findall(
        r"^\.\. plot::\n   :context:.*?\n\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    Image.open(DOCS / "scene.png").save("scene.png")
    names = {}
    for block in blocks:
        exec(compile(re.sub("(?m)^   ", "", block), "docs/gallery.md", "exec"), names)
        assert plt.get_fignums(), block
        plt.close("all")
    layers = set(re.findall(r"layers\.(\w+)\(", text))
    assert layers >= set(keras_dpn.layers.__all__) - {
        # One dimension more or less than LocalConv2D, and a network that the section describes.
        *("LocalConv1D", "LocalConv3D", "PairwisePotential"),
    }
    assert all(f"layers.{name}" in text for name in keras_dpn.layers.__all__)


def reference(page):
    """A page's package, and the names that it lists."""
    text = PAGES[page]
    lists = re.findall(r"\.\. autosummary::\n(?:   :.*\n)+\n((?:   [\w.]+\n)+)", text)
    return re.search(r"\.\. module:: ([\w.]+)", text)[1], " ".join(lists).split()


@pytest.mark.parametrize("page", API)
def test_the_reference_has_every_public_name(page):
    module, listed = reference(page)
    package = importlib.import_module(module)
    assert len(set(listed)) == len(listed)
    for name in listed:
        parent, _, last = f"{module}.{name}".rpartition(".")
        assert hasattr(importlib.import_module(parent), last), name
    names = getattr(package, "__all__", None) or [
        name
        for name, value in vars(package).items()
        if getattr(value, "__module__", "") == module and not name.startswith("_")
    ]
    public = {name for name in names if name != "__version__"}
    packages = {
        name for name in public if f"{module}.{name}" in sys.modules and module == "keras_dpn"
    }
    assert public - packages <= set(listed)
    # What isn't in a package's __all__ is public by its own module.
    assert all("." in name for name in set(listed) - public if module != "keras_dpn.crf")


def test_the_reference_has_every_public_package():
    documented = {reference(page)[0] for page in API}
    packages = {f"keras_dpn.{name}" for name in keras_dpn.__all__ if name.islower()}
    packages = {name for name in packages if name in sys.modules}
    packages |= {
        f"keras_dpn.{path.parent.name}"
        for path in (ROOT / "keras_dpn").glob("*/__init__.py")
        if "__all__" in path.read_text("utf-8")
    }
    assert documented == {"keras_dpn", *packages}
    index = PAGES["docs/api/index.md"]
    assert all(f"\n{Path(page).stem}\n" in index for page in API)


def test_every_page_is_in_the_navigation():
    listed = set()
    for page, text in PAGES.items():
        if page.startswith("docs/"):
            for tree in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
                entries = re.findall(r"^(?!:)(?:.*<)?([\w/]+)>?$", tree, re.MULTILINE)
                listed |= {str(Path(page).parent / f"{entry}.md") for entry in entries}
    pages = {page for page in PAGES if page.startswith("docs/")}
    assert pages - listed == {"docs/index.md"}
    assert listed <= pages


def test_what_pages_include_is_there():
    """A section is found by its heading: rename it in the page, too."""
    includes = 0
    for page, text in PAGES.items():
        for file, options in re.findall(r"```\{include\} (\S+)\n(.*?)```", text, re.DOTALL):
            included = (ROOT / page).parent.joinpath(file).read_text("utf-8")
            for marker in re.findall(r'^:[a-z-]+: "(.*?)(?:\\n)?"$', options, re.MULTILINE):
                assert included.count(marker) == 1, f"{page}: {file}: {marker}"
                includes += 1
    assert includes > 15


COMMANDS = sorted(
    {
        line.split(" #")[0].strip()
        for page in PAGES
        for block in code(page, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("keras-dpn ")
    }
)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist(line):
    """Their names, and the options that their help knows."""
    _, name, *arguments = shlex.split(line)
    if name == "--help" or name.isupper():
        return
    assert name in cli.COMMANDS, line
    module = importlib.import_module(f"training.cli.{name.replace('-', '_')}")
    source = Path(module.__file__).read_text("utf-8")
    source += (ROOT / "training/cli/options.py").read_text("utf-8")
    source += "".join(p.read_text("utf-8") for p in (ROOT / "training/configs").rglob("*.py"))
    for argument in arguments:
        if argument.startswith("--") and argument != "--help":
            field = argument.removeprefix("--").split("=")[0].split(".")[-1].replace("-", "_")
            assert re.search(rf"\b{field}\b", source), argument


def test_every_extra_is_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    explained = re.findall(r"^\| `(\w+)` \|", PAGES["docs/install.md"], re.MULTILINE)
    assert sorted(explained) == sorted(project["optional-dependencies"])


def test_all_code_is_python():
    for page in PAGES:
        for block in code(page, "py") + code(page, "python"):
            compile(block, page, "exec")
