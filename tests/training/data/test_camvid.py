import numpy as np
import pytest
from PIL import Image

from training.data.camvid import CLASSES, CamVidDataset


@pytest.fixture
def camvid(tmp_path):
    for folder, value in (("train", 90), ("trainannot", 3)):
        (tmp_path / folder).mkdir()
        array = np.full((2, 3), value, "uint8")
        array[0, 0] = 11
        Image.fromarray(array).save(tmp_path / folder / "a.png")
    return tmp_path


@pytest.mark.parametrize("prefix", ["", "/SegNet/CamVid/"])
def test_reads_both_kinds_of_lists(camvid, prefix):
    (camvid / "train.txt").write_text(f"{prefix}train/a.png {prefix}trainannot/a.png\n\n")
    dataset = CamVidDataset(camvid)
    assert list(dataset.splits) == ["train"]
    (example,) = dataset.splits["train"]
    assert (example.name, example.index) == ("a", 0)
    image, labels = dataset.read(example)
    assert image.shape == (2, 3, 3)
    np.testing.assert_array_equal(labels, [[11, 3, 3], [3, 3, 3]])


def test_classes():
    assert CLASSES.num_classes == CLASSES.ignore == 11
    assert CLASSES.colors[CLASSES.names.index("Road")] == (128, 64, 128)


def test_no_lists(tmp_path):
    with pytest.raises(ValueError, match="train.txt"):
        CamVidDataset(tmp_path)


def test_line_that_is_no_pair(camvid):
    (camvid / "val.txt").write_text("val/a.png valannot/a.png\nval/b.png\n")
    with pytest.raises(ValueError, match=r"val.txt, line 2: .*'val/b.png'"):
        CamVidDataset(camvid)
