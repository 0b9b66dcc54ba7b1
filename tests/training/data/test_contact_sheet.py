import numpy as np
import pytest
from PIL import Image

from training.data.contact_sheet import main, show
from training.data.generated.scenes import CLASSES


def test_writes_a_sheet(tmp_path):
    main("scenes", out=tmp_path / "new" / "a.png", rows=2, columns=2, crop=(48, 64))
    sheet = np.asarray(Image.open(tmp_path / "new" / "a.png"))
    assert sheet.shape[0] > 2 * 48 and sheet.shape[1] > 4 * 64
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_clips_are_shown_as_pictures(tmp_path):
    main("moving_scenes", out=tmp_path / "a.png", rows=1, columns=2, crop=(48, 64))
    assert (tmp_path / "a.png").is_file()


def test_the_same_seed_gives_the_same_sheet_and_epochs_differ(tmp_path):
    for name, epoch in (("a", 1), ("b", 1), ("c", 2)):
        main("scenes", out=tmp_path / name, rows=1, columns=1, crop=(48, 64), epoch=epoch)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_show_puts_labels_beside_the_picture():
    tile = show(np.full((1, 1, 3), 99.6), np.array([[1]]), CLASSES)
    np.testing.assert_array_equal(tile, [[[100] * 3, CLASSES.colors[1]]])


@pytest.mark.parametrize("options", [{"rows": 0}, {"split": "none"}, {"crop": (0, 4)}])
def test_invalid(tmp_path, options):
    with pytest.raises(ValueError, match="xpected|split"):
        main("scenes", out=tmp_path / "a.png", **options)
    assert not list(tmp_path.iterdir())
