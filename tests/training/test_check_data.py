import pytest

from training.check_data import main
from training.data.scenes import ScenesDataset, write_folder


@pytest.fixture
def folder(tmp_path):
    write_folder(ScenesDataset({"train": 3, "val": 2}, size=(48, 64)), tmp_path)
    return tmp_path


def test_good_data(folder, capsys):
    main("folder", folder)
    out = capsys.readouterr().out
    assert "No faults." in out and "balloon" in out and "train, 3" in out


def test_bad_data(folder, capsys):
    (folder / "labels" / "train_00001.png").unlink()
    (folder / "images" / "val_00001.png").write_bytes(b"")
    with pytest.raises(ValueError, match="faults found: 2; mend them"):
        main("folder", folder)
    out = capsys.readouterr().out
    assert "missing" in out and "unreadable" in out
