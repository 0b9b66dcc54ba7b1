import numpy as np
import pytest
from PIL import Image

from training.cli import main


def browse(out, *options):
    return main(["browse", "scenes", "--out", str(out), "--crop", "48", "64", *options])


def test_writes_a_sheet(tmp_path, capsys):
    assert browse(tmp_path / "new" / "a.png", "--rows", "2", "--columns", "2") == 0
    sheet = np.asarray(Image.open(tmp_path / "new" / "a.png"))
    assert sheet.shape[0] > 2 * 48 and sheet.shape[1] > 4 * 64
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
    assert capsys.readouterr().out == f"{tmp_path}/new/a.png: images of epoch 0\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "0"], "`rows`"),
        (["--split", "none"], "`split`"),
        (["--crop", "0", "4"], "`crop`"),
    ],
)
def test_invalid(tmp_path, options, message, capsys):
    assert browse(tmp_path / "a.png", *options) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_sheet_is_a_png(tmp_path, capsys):
    assert browse(tmp_path / "sheet.txt") == 2
    assert "--out: expected a name that ends in .png, received" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
