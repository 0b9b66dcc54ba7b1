import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from benchmarks.camera import CameraClips, camera_path, main, pan_and_zoom
from keras_dpn.io.video import VideoReader
from training.data.generated.scenes import ScenesDataset


@pytest.fixture(scope="module")
def still():
    """A smooth image, 120x160, and its labels."""
    scenes = ScenesDataset({"train": 1}, size=(120, 160), seed=1)
    image, labels = scenes.read(scenes.splits["train"][0])
    return ndimage.gaussian_filter(image, (2, 2, 0)), labels


@pytest.fixture(scope="module")
def clip(still):
    return pan_and_zoom(still[0], frames=12, labels=still[1], seed=3)


def warped(image, flow, order):
    """What lies in another frame (H, W) where the flow leads; NaN outside."""
    y, x = np.indices(flow.shape[:2])
    targets = [y + flow[..., 1], x + flow[..., 0]]
    return ndimage.map_coordinates(image.astype("float64"), targets, order=order, cval=np.nan)


@pytest.mark.parametrize("forward", [True, False])
def test_flow_leads_to_the_same_point_of_the_image(clip, forward):
    pairs = list(zip(clip.frames, clip.frames[1:], clip.labels, clip.labels[1:], strict=False))
    flows = clip.forward_flow if forward else clip.backward_flow
    for (a, b, a_labels, b_labels), flow in zip(pairs, flows, strict=True):
        if not forward:
            a, b, a_labels, b_labels = b, a, b_labels, a_labels
        error = np.abs(warped(b[..., 0], flow, order=1) - a[..., 0])
        assert np.nanmean(error) < 1 and np.nanmax(error) < 12
        assert np.isnan(error).mean() < 0.25  # leaves the image
        there = warped(b_labels, flow, order=0)
        assert (there == a_labels)[~np.isnan(there)].mean() > 0.95


def test_flow_and_back_again(clip):
    for flow, back in zip(clip.forward_flow, clip.backward_flow, strict=True):
        for channel in range(2):
            there = warped(back[..., channel], flow, order=1)
            np.testing.assert_allclose(np.nan_to_num(there + flow[..., channel]), 0, atol=1e-3)


def test_types_and_sizes(still, clip):
    assert (clip.frames.shape, clip.frames.dtype) == ((12, 80, 106, 3), np.uint8)
    assert (clip.forward_flow.shape, clip.forward_flow.dtype) == ((11, 80, 106, 2), np.float32)
    assert (clip.backward_flow.shape, clip.backward_flow.dtype) == ((11, 80, 106, 2), np.float32)
    assert (clip.labels.shape, clip.labels.dtype) == ((12, 80, 106), np.uint8)
    assert set(np.unique(clip.labels)) <= set(np.unique(still[1]))
    single = pan_and_zoom(still[0], frames=1, size=(30, 41))
    assert single.frames.shape == (1, 30, 41, 3) and single.forward_flow.shape == (0, 30, 41, 2)
    assert single.labels is None


def test_the_path_pans_zooms_turns_and_stays_inside():
    path = camera_path((360, 480), 600, (240, 320), speed=4.0)
    corners = np.array([[0, 0, 1], [319, 0, 1], [0, 239, 1], [319, 239, 1]]).T
    seen = path @ corners  # (T, 2, 4)
    assert seen.min() >= -1e-9 and (seen.max(axis=(0, 2)) <= [479, 359]).all()
    zoom = 1 / np.sqrt(np.linalg.det(path[:, :, :2]))
    assert 1 <= zoom.min() < 1.02 and 1.28 < zoom.max() <= 1.3
    turn = np.degrees(np.arctan2(path[:, 1, 0], path[:, 0, 0]))
    assert turn.min() < -2.9 and turn.max() > 2.9
    steps = np.diff(seen.mean(axis=2), axis=0)
    assert 3.7 < np.sqrt(np.square(steps).sum(axis=1).mean()) < 4.3
    assert np.abs(np.diff(steps, axis=0)).max() < 0.5  # smooth


def test_paths_depend_on_the_seed():
    first, again, other = (camera_path((60, 60), 5, (30, 30), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "`frames`"),
        ({"speed": 0.0}, "`speed`"),
        ({"seed": -1}, "`seed`"),
        ({"size": (0, 5)}, "`size`"),
        ({"size": (120, 160)}, "120x160"),
        ({"labels": np.zeros((5, 5), "uint8")}, "`labels`"),
        ({"image": np.zeros((120, 160, 3))}, "`image`"),
        ({"image": np.zeros((120, 160), "uint8")}, "`image`"),
    ],
)
def test_invalid_arguments(still, options, message):
    with pytest.raises(ValueError, match=message):
        pan_and_zoom(**{"image": still[0], "frames": 3, **options})


def test_main_writes_frames(tmp_path, still):
    Image.fromarray(still[0]).save(tmp_path / "still.png")
    main(tmp_path / "still.png", tmp_path / "frames", frames=3)
    clip = pan_and_zoom(still[0], frames=3)
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    np.testing.assert_array_equal([np.asarray(Image.open(file)) for file in files], clip.frames)


def test_main_writes_a_video(tmp_path, still):
    Image.fromarray(still[0]).save(tmp_path / "still.png")
    main(tmp_path / "still.png", tmp_path / "clip.mp4", frames=3)
    assert VideoReader(tmp_path / "clip.mp4").size == (80, 106)
    assert len(list(VideoReader(tmp_path / "clip.mp4"))) == 3


def test_clips_of_a_dataset():
    scenes = ScenesDataset({"val": 5}, size=(72, 96))
    clips = CameraClips(scenes, "val", frames=4, every=2)
    assert [len(sequence) for sequence in clips.sequences["val"]] == [4, 4, 4]
    assert len(clips.examples("val")) == 12 and clips.classes == scenes.classes
    for number, still in enumerate(scenes.examples("val")[::2]):
        image, labels = scenes.read(still)
        expected = pan_and_zoom(image, 4, labels=labels, seed=number)
        sequence = clips.sequences["val"][number]
        clip = clips.read_clip(sequence[1], 3)
        np.testing.assert_array_equal(clip.frames, expected.frames[:3])
        np.testing.assert_array_equal(clip.labels, expected.labels[1])
        np.testing.assert_array_equal(clip.forward_flow, expected.forward_flow[:2])
        np.testing.assert_array_equal(clip.backward_flow, expected.backward_flow[:2])
