import numpy as np
import pytest
import tyro
from PIL import Image

from training.cli.check_data import main
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_clips, write_dataset


@pytest.fixture
def folder(tmp_path):
    write_dataset(ScenesDataset({"train": 3, "val": 2}, size=(48, 64)), tmp_path)
    return tmp_path


def test_good_data(folder, capsys):
    main("folder", folder)
    out = capsys.readouterr().out
    assert "No issues." in out and "balloon" in out and "train, 3" in out


def test_warnings_are_issues(folder, capsys):
    for path in (folder / "labels").glob("val_*.png"):
        Image.fromarray(np.zeros_like(Image.open(path))).save(path)  # of one class
    main("folder", folder)
    out = capsys.readouterr().out
    assert "Issues: 0 to fix, " in out
    assert "unseen" in out and "No issues that prevent training." in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["clips"], "name its directory"), (["moving_scenes", "--workers", "0"], "`workers`")],
)
def test_datasets_of_clips_are_known(arguments, message):
    with pytest.raises(ValueError, match=message):
        tyro.cli(main, args=arguments)


def test_frames_without_labels_are_read_too(tmp_path, capsys):
    write_clips(MovingScenesDataset({"train": 1, "val": 1}, size=(48, 64), frames=3), tmp_path)
    (tmp_path / "labels" / "val_00000" / "000001.png").unlink()
    main("clips", tmp_path)
    assert "No issues." in capsys.readouterr().out
    (tmp_path / "clips" / "val_00000" / "000001.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="issues found: 1; fix"):
        main("clips", tmp_path)
    assert "unreadable" in capsys.readouterr().out


def test_bad_data(folder, capsys):
    (folder / "labels" / "train_00001.png").unlink()
    (folder / "images" / "val_00001.png").write_bytes(b"")
    with pytest.raises(ValueError, match="issues found: 2; fix them"):
        main("folder", folder)
    out = capsys.readouterr().out
    assert "missing" in out and "unreadable" in out and "Issues: 2 to fix, " in out


def test_ignored_pixels_are_shown(folder, capsys):
    path = folder / "labels" / "train_00001.png"
    labels = np.array(Image.open(path))
    labels[:12] = 255  # of 48 rows
    Image.fromarray(labels).save(path)
    main("folder", folder)
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "ignored, of all" in line]
    assert "8.33% (1)" in row and "0.00% (0)" in row
    (row,) = [line for line in lines if "train_00001" in line]
    assert "25.00%" in row
