import numpy as np
import pytest

from training.cli import main
from training.data.clips.folder import ClipFolder
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.registry import load_dataset


def generate(dataset, out, *options):
    return main(["generate", dataset, "--out", str(out), *options])


def test_writes_the_folder_layout(tmp_path, capsys):
    root = tmp_path / "new" / "set"
    assert generate("scenes", root, "--num-images", "2", "--seed", "1") == 0
    assert capsys.readouterr().out == f"{root}: 2 training, 1 validation and 1 test images\n"
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    names = ["train_00000", "train_00001", "val_00000", "test_00000"]
    expected = {f"{folder}/{name}.png" for folder in ("images", "labels") for name in names}
    lists = {f"splits/{split}.txt" for split in ("train", "val", "test")}
    assert files == expected | lists | {"classes.json"}


@pytest.mark.parametrize("name", ["scenes", "context-scenes", "houses"])
def test_files_hold_what_the_generator_makes(tmp_path, name):
    assert generate(name, tmp_path, "--num-images", "1", "--seed", "3") == 0
    written = load_dataset("folder", tmp_path)
    generated = load_dataset(name.replace("-", "_"), None, seed=3)
    assert written.classes == generated.classes
    assert [len(written.splits[split]) for split in ("train", "val", "test")] == [1, 1, 1]
    pairs = written.splits["val"][0], generated.splits["val"][0]
    for ours, theirs in zip(written.read(pairs[0]), generated.read(pairs[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_writes_clips(tmp_path):
    assert generate("moving-scenes", tmp_path, "--num-images", "1", "--seed", "1") == 0
    folder = ClipFolder(tmp_path)
    scenes = MovingScenesDataset({"train": 1, "val": 1, "test": 1}, seed=1)
    assert folder.classes == scenes.classes
    for split, examples in scenes.splits.items():
        assert [e.name for e in folder.splits[split]] == [e.name for e in examples]
    pairs = zip(folder.splits["train"], scenes.splits["train"], strict=True)
    for read, made in list(pairs)[:2]:
        clip, expected = folder.read_clip(read, 3), scenes.read_clip(made, 3)
        for name in ("frames", "forward_flow", "backward_flow", "labels"):
            np.testing.assert_array_equal(getattr(clip, name), getattr(expected, name))


@pytest.mark.parametrize("name", ["scenes", "moving-scenes"])
def test_needs_an_image(tmp_path, name, capsys):
    assert generate(name, tmp_path / "set", "--num-images", "0") == 2
    assert "`num_images`: expected 1 or more, received 0" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
