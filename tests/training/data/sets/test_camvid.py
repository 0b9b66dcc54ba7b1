import numpy as np
import pytest
from PIL import Image

from training.data.clips.flow import FlowCache
from training.data.io.flo import INVALID_FLOW
from training.data.registry import load_dataset
from training.data.sets.camvid import CLASSES, CamVidDataset


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


def write_list(folder, names, split="train"):
    lines = [f"train/{name}.png trainannot/{name}.png\n" for name in names]
    (folder / f"{split}.txt").write_text("".join(lines))


def test_sequences_by_name_order_and_holes(camvid):
    names = ["0016E5_00930", "0016E5_00870", "0016E5_00901", "0016E5_02880", "0016E5_02910"]
    write_list(camvid, [*names, "Seq05VD_f00060", "Seq05VD_f00000", "0001TP_008580", "a", "b"])
    dataset = CamVidDataset(camvid)
    found = [[example.name for example in sequence] for sequence in dataset.sequences["train"]]
    assert found == [
        ["0001TP_008580"],
        ["0016E5_00870", "0016E5_00901", "0016E5_00930"],
        ["0016E5_02880", "0016E5_02910"],
        ["Seq05VD_f00000", "Seq05VD_f00060"],
        ["a"],
        ["b"],
    ]
    assert sorted(map(id, sum(dataset.sequences["train"], ()))) == sorted(
        map(id, dataset.splits["train"])
    )
    assert [example.index for example in dataset.splits["train"]] == list(range(10))


def test_dense_sequences_have_their_own_gap(camvid):
    write_list(camvid, ["0016E5_07959", "0016E5_07961", "0016E5_07963", "0016E5_07993"], "val")
    assert [len(s) for s in CamVidDataset(camvid).sequences["val"]] == [3, 1]


def test_clips(camvid, tmp_path):
    for value, name in enumerate(("0001TP_000030", "0001TP_000060")):
        frame, labels = np.full((40, 48), 90 + value, "uint8"), np.full((40, 48), value, "uint8")
        Image.fromarray(frame).save(camvid / "train" / f"{name}.png")
        Image.fromarray(labels).save(camvid / "trainannot" / f"{name}.png")
    write_list(camvid, ["0001TP_000030", "0001TP_000060"])
    cache = FlowCache(tmp_path / "flow")
    dataset = load_dataset("camvid", camvid, flow_dir=cache.directory)
    dataset.fill_flow("train", 3, workers=1)
    assert len(list(cache.directory.iterdir())) == 2
    clip = dataset.read_clip(dataset.splits["train"][1], 3)
    assert clip.frames[:, 0, 0, 0].tolist() == [90, 91, 91] and (clip.labels == 1).all()
    np.testing.assert_array_equal(clip.forward_flow[0], cache(*clip.frames[:2]))
    np.testing.assert_array_equal(clip.backward_flow[0], cache(*clip.frames[1::-1]))
    assert (clip.forward_flow[1] == INVALID_FLOW).all() and (
        clip.backward_flow[1] == INVALID_FLOW
    ).all()
