import json
import re

import numpy as np
import pytest
from PIL import Image

from keras_dpn.io.video import VideoWriter
from training.data.checks import scan_dataset
from training.data.clips.flow import FlowCache
from training.data.clips.folder import ClipFolder
from training.data.io.flo import INVALID_FLOW, write_flo
from training.data.registry import load_dataset

SIZE = (40, 48)
CLASSES = {"names": ["sky", "road"], "colors": [[0, 0, 255], [90, 90, 90]]}


def grey(value, size=SIZE):
    return np.full((*size, 3), value, "uint8")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_lists(root, **splits):
    for split, names in splits.items():
        (root / "splits").mkdir(exist_ok=True)
        (root / "splits" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def clips(tmp_path):
    """Sequence "street" of frames 1, 2, 9, 10, 11 with labels on 1, 10 and 11."""
    for number in (1, 2, 9, 10, 11):
        save(tmp_path / "clips" / "street" / f"{number}.png", grey(10 * number))
    for number in (1, 10, 11):
        save(tmp_path / "labels" / "street" / f"{number}.png", grey(number % 2)[..., 0])
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    write_lists(tmp_path, train=["street"])
    return tmp_path


@pytest.fixture
def video(clips):
    """Sequence "clip", a video of 24 frames that get brighter, with labels on some."""
    with VideoWriter(clips / "clips" / "clip.mp4", 25, SIZE) as writer:
        for number in range(24):
            writer.write(grey(10 * number))
    for number in (0, 2, 3, 20):
        save(clips / "labels" / "clip" / f"{number:06d}.png", grey(1)[..., 0])
    write_lists(clips, val=["clip"])
    return clips


def brightness(frames):
    return [round(frame.mean() / 10) for frame in frames]


def example_of(dataset, name):
    return next(
        e for split in dataset.sequences.values() for s in split for e in s if e.name == name
    )


def test_order_and_labels(clips):
    dataset = ClipFolder(clips)
    (sequence,) = dataset.sequences["train"]
    assert [example.name for example in sequence] == [f"street/{n}" for n in (1, 2, 9, 10, 11)]
    assert [bool(example.label) for example in sequence] == [True, False, False, True, True]
    assert dataset.splits["train"] == (sequence[0], *sequence[3:])
    picture, labels = dataset.read(sequence[3])
    assert picture.shape == (*SIZE, 3) and picture.dtype == labels.dtype == "uint8"
    assert picture[0, 0, 0] == 100 and labels.shape == SIZE and labels[0, 0] == 0


def test_works_as_pictures(clips):
    assert scan_dataset(load_dataset("clips", clips), workers=1).issues == []


@pytest.mark.parametrize(
    ("name", "frames", "expected", "links"),
    [
        ("street/10", 3, [9, 10, 11], [True, True]),
        ("street/10", 5, [2, 9, 10, 11, 11], [True, True, True, False]),
        ("street/1", 3, [1, 1, 2], [False, True]),
        ("street/11", 3, [10, 11, 11], [True, False]),
        ("street/1", 1, [1], []),
        ("street/10", 9, [1, 1, 2, 9, 10, 11, 11, 11, 11], [False] + 4 * [True] + 3 * [False]),
    ],
)
def test_ends(clips, name, frames, expected, links):
    dataset = ClipFolder(clips)
    clip = dataset.read_clip(example_of(dataset, name), frames)
    assert brightness(clip.frames) == expected
    assert clip.frames.dtype == "uint8" and clip.labels[0, 0] == int(name.split("/")[1]) % 2
    for flow in (clip.forward_flow, clip.backward_flow):
        assert flow.shape == (frames - 1, *SIZE, 2) and flow.dtype == "float32"
        assert [bool((np.abs(f) < 10).all()) for f in flow] == links
        assert all(
            (f == INVALID_FLOW).all() for f, link in zip(flow, links, strict=True) if not link
        )


def test_flow_files_take_precedence(clips):
    folder = clips / "flow" / "street"
    write_flo(folder / "9_forward.flo", np.full((*SIZE, 2), 7.0))
    write_flo(folder / "9_backward.flo", np.full((*SIZE, 2), -7.0))
    write_flo(folder / "10_backward.flo", np.full((*SIZE, 2), -3.0))
    dataset = ClipFolder(clips)
    clip = dataset.read_clip(example_of(dataset, "street/10"), 3)
    assert (clip.forward_flow[0] == 7).all() and (clip.backward_flow[0] == -7).all()
    assert (clip.backward_flow[1] == -3).all() and np.abs(clip.forward_flow[1]).max() < 1
    frames = [example_of(dataset, f"street/{n}") for n in (9, 10)]
    assert (dataset.flow(*frames) == 7).all() and (dataset.flow(*frames[::-1]) == -7).all()


@pytest.mark.parametrize("name", ["12_forward", "11_backward", "10", "10_forwards"])
def test_flow_files_of_no_link(clips, name):
    write_flo(clips / "flow" / "street" / f"{name}.flo", np.zeros((*SIZE, 2)))
    with pytest.raises(ValueError, match=rf"{name}.flo: expected FRAME_forward.flo"):
        ClipFolder(clips)


def test_flow_file_of_another_size(clips):
    write_flo(clips / "flow" / "street" / "9_forward.flo", np.zeros((SIZE[1], SIZE[0], 2)))
    dataset = ClipFolder(clips)
    with pytest.raises(ValueError, match=r"9_forward.flo: .*\(40, 48, 2\), received \(48, 40, 2\)"):
        dataset.read_clip(example_of(dataset, "street/10"), 3)


@pytest.mark.parametrize("frames", [2, 0, -1])
def test_even_lengths(clips, frames):
    dataset = ClipFolder(clips)
    example = dataset.splits["train"][0]
    for call in (dataset.read_clip, lambda example, n: dataset.fill_flow("train", n)):
        with pytest.raises(ValueError, match=f"odd number, .*center frame, received {frames}"):
            call(example, frames)


def test_frames_of_different_sizes(clips):
    save(clips / "clips" / "street" / "9.png", grey(0, (40, 47)))
    dataset = ClipFolder(clips)
    example = example_of(dataset, "street/10")
    message = r"9.png: 47x40 pixels, but .*10.png has 48x40"
    with pytest.raises(ValueError, match=message):
        dataset.read_clip(example, 3)
    with pytest.raises(ValueError, match=message):
        dataset.flow(example, example_of(dataset, "street/9"))


def test_label_of_another_size(clips):
    save(clips / "labels" / "street" / "10.png", np.zeros((4, 4), "uint8"))
    dataset = ClipFolder(clips)
    with pytest.raises(ValueError, match=r"labels/street/10.png: 4x4 .*clips/street/10.png has"):
        dataset.read(example_of(dataset, "street/10"))


def test_frames_without_labels_or_of_elsewhere(clips):
    dataset = ClipFolder(clips)
    frame = example_of(dataset, "street/9")
    assert brightness([dataset.read_frame(frame)]) == [9]
    for read in (dataset.read, lambda example: dataset.read_clip(example, 3)):
        with pytest.raises(ValueError, match=r"street/9.png: the frame has no label map"):
            read(frame)
    (clips / "splits" / "train.txt").write_text("")
    with pytest.raises(ValueError, match="no sequence has the frame 'street/9'"):
        ClipFolder(clips).read_clip(frame, 3)


def test_fill_flow_computes_what_clips_need(clips, tmp_path):
    dataset = ClipFolder(clips, FlowCache(tmp_path / "cache"))
    write_flo(clips / "flow" / "street" / "9_forward.flo", np.zeros((*SIZE, 2)))
    write_flo(clips / "flow" / "street" / "9_backward.flo", np.zeros((*SIZE, 2)))
    dataset = ClipFolder(clips, FlowCache(tmp_path / "cache"))
    dataset.fill_flow("train", 3, workers=2)
    entries = sorted((tmp_path / "cache").iterdir())
    assert len(entries) == 4  # 1-2 and 10-11, both ways; 9-10 has files, 2-9 is in no clip
    for example in dataset.splits["train"]:
        dataset.read_clip(example, 3)
    assert sorted((tmp_path / "cache").iterdir()) == entries


def test_video(video):
    dataset = ClipFolder(video)
    (sequence,) = dataset.sequences["val"]
    assert [example.name for example in sequence[:2]] == ["clip/000000", "clip/000001"]
    assert len(sequence) == 24 and len(dataset.splits["val"]) == 4
    for place, expected in ((3, [2, 3, 4]), (0, [0, 0, 1]), (20, [19, 20, 21]), (2, [1, 2, 3])):
        clip = dataset.read_clip(sequence[place], 3)
        assert brightness(clip.frames) == expected and (clip.labels == 1).all()
    assert scan_dataset(dataset, workers=2).errors == []


def test_video_frames_are_kept_unchanged(video):
    dataset = ClipFolder(video)
    (sequence,) = dataset.sequences["val"]
    dataset.read_frame(sequence[5])[:] = 0
    assert brightness([dataset.read_frame(sequence[5])]) == [5]


def test_videos_are_decoded_once_in_order(video, monkeypatch):
    from training.data.clips import folder as module

    reads = []

    class Reader(module.VideoReader):
        def read(self, index):
            reads.append(index)
            return super().read(index)

    monkeypatch.setattr(module, "VideoReader", Reader)
    dataset = ClipFolder(video)
    for example in dataset.splits["val"]:
        dataset.read_clip(example, 3)
    assert reads == [0, 1, 2, 3, 4, 19, 20, 21]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "clips" / "street").rename(d / "road"), "street: expected a directory"),
        (lambda d: (d / "clips" / "street.mp4").touch(), "matches street and street.mp4"),
        (lambda d: write_lists(d, val=["street", "street"]), "val.txt: .*'street' is listed twice"),
        (lambda d: write_lists(d, val=["../street"]), r"val.txt: .*received '\.\./street'"),
        (lambda d: write_lists(d, val=["/tmp"]), "val.txt: .*received '/tmp'"),
        (lambda d: save(d / "labels" / "street" / "3.png", grey(0)), "3.png: .*no such frame"),
        (
            lambda d: save(d / "clips" / "street" / "9.bmp", grey(0)),
            "the same name, 9.bmp and 9.png",
        ),
        (lambda d: (d / "clips" / "new").mkdir() or write_lists(d, val=["new"]), "new: .*images"),
        (lambda d: (d / "labels").rename(d / "x"), "labels: no such directory"),
        (lambda d: (d / "clips").rename(d / "x"), "clips: no such directory"),
        (lambda d: (d / "classes.json").unlink(), "classes.json: no such file"),
        (lambda d: (d / "splits" / "train.txt").unlink(), "splits: expected train.txt"),
        (
            lambda d: (d / "clips" / "bad.mp4").write_text("x") and write_lists(d, val=["bad"]),
            "bad.mp4: can't be read",
        ),
    ],
)
def test_broken_layout(clips, change, message):
    change(clips)
    with pytest.raises(ValueError, match=message):
        ClipFolder(clips)


def test_subdirectories_and_other_files(clips):
    (clips / "clips" / "street" / "Thumbs.db").touch()
    (clips / "clips" / "street" / ".10.png").touch()
    for part in ("clips", "labels"):
        (clips / part / "city").mkdir()
        (clips / part / "street").rename(clips / part / "city" / "street.1")
    write_lists(clips, train=["city/street.1"])
    dataset = ClipFolder(clips)
    assert len(dataset.sequences["train"][0]) == 5
    assert re.fullmatch(r"city/street\.1/\d+", dataset.splits["train"][0].name)


def test_clips_without_flow(clips, monkeypatch):
    dataset = ClipFolder(clips)
    monkeypatch.setattr(dataset, "flow", None)
    clip = dataset.read_clip(example_of(dataset, "street/10"), 3, flow=False)
    assert clip.frames.shape == (3, *SIZE, 3) and clip.forward_flow.shape == (0, *SIZE, 2)
