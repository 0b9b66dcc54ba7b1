import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_dpn import presets
from keras_dpn.models import DPN
from keras_dpn.presets import available, find, write_preset
from keras_dpn.presets.source import read_classes


def test_included_presets_are_whole_and_small():
    assert "dpn_scenes" in available()
    for name, info in available().items():
        directory = find(name)
        presets.files.check_files(directory, presets.files.read_metadata(directory))
        assert info.name == name and info.description and info.classes
        assert 0 < info.miou <= 100 and info.parameters > 0
        assert sum(path.stat().st_size for path in directory.iterdir()) < 45e6
        card = (directory / "README.md").read_text()
        for word in (
            "## Scores",
            "## Training",
            "limitations",
            "## Licence",
            f'from_preset("{name}")',
        ):
            assert word in card, f"{name}: {word}"


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model.keras").touch()
    return tmp_path / "run"


def test_names_directories_and_runs(tmp_path, run_dir):
    assert find("dpn_scenes") == Path(presets.__file__).parent / "dpn_scenes"
    assert find(run_dir) == find(str(run_dir)) == run_dir
    network = DPN(3, width=0.03, backbone={"fc6_kernel": 1, "fc_width": 32})
    write_preset(network, tmp_path / "mine")
    assert find(tmp_path / "mine") == tmp_path / "mine"


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="dpn_scnes: no such .*; did you mean `dpn_scenes`?"):
        find("dpn_scnes")
    with pytest.raises(ValueError, match="else: no such directory, .*; expected .*dpn_scenes"):
        find("something/else")
    with pytest.raises(ValueError, match="expected a preset .* or a finished training run"):
        find(tmp_path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Stands for huggingface_hub; collects how it is called."""
    calls = []

    def snapshot_download(repo, *, revision, allow_patterns, dry_run=False):
        if dry_run and repo == "org/offline":
            raise RuntimeError("dry run without network")
        if dry_run:
            size = 2**31 + 1 if repo == "org/huge" else 2**31
            new = SimpleNamespace(file_size=size, will_download=True)
            return [new, SimpleNamespace(file_size=9, will_download=False)]
        calls.append((repo, revision, tuple(allow_patterns)))
        if repo == "nobody/nothing":
            raise RuntimeError("404 Client Error")
        return str(tmp_path)

    module = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return calls


def test_addresses_on_the_hub(tmp_path, hub):
    assert find("hf://org/street-net@v1.0") == tmp_path
    assert find("hf://org/street-net") == tmp_path
    files = ("config.json", "model.weights.h5", "metadata.json", "classes.json", "README.md")
    assert hub == [("org/street-net", "v1.0", files), ("org/street-net", None, files)]
    assert find("hf://org/offline") == tmp_path  # the copy of an earlier download
    with pytest.raises(ValueError, match="hf://org/huge: 2147483649 bytes are too many, at most"):
        find("hf://org/huge")
    assert hub[-1][0] == "org/offline"
    with pytest.raises(OSError, match="hf://nobody/nothing: the download failed: 404 .*Check the"):
        find("hf://nobody/nothing")
    for address in ("hf://org", "hf://org/name/more", "hf://../x@", "hf://"):
        with pytest.raises(ValueError, match="expected hf://org/name or hf://org/name@revision"):
            find(address)


def test_without_huggingface_hub_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match="need huggingface_hub; install it with pip install"):
        find("hf://org/name")


def test_local_directories_never_touch_the_network(hub, run_dir):
    find(run_dir)
    find("dpn_scenes")
    assert hub == []


@pytest.mark.parametrize("content", ["{", "[]", '{"names": ["a"], "colors": [[0, 0, 300]]}'])
def test_classes_that_are_none_are_named(tmp_path, content):
    assert read_classes(tmp_path) is None
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ValueError, match=f"{tmp_path}/classes.json: "):
        read_classes(tmp_path)
