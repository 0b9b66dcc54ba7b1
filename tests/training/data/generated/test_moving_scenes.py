import itertools

import numpy as np
import pytest
from scipy import ndimage

from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.generated.scenes import CLASSES, CONFUSABLE, RELATIONS
from training.data.io.flo import INVALID_FLOW

STEPS = {"above": (-1, 0), "below": (1, 0), "left": (0, -1), "right": (0, 1)}


@pytest.fixture(scope="module")
def clean():
    return MovingScenesDataset({"train": 8}, seed=2, noise=0)


@pytest.fixture(scope="module")
def links(clean):
    """Pairs of frames that follow each other, in either order."""
    pairs = [pair for sequence in clean.sequences["train"] for pair in itertools.pairwise(sequence)]
    return [pair for first, second in pairs for pair in ((first, second), (second, first))]


def warped(image, flow, order=1):
    """What lies in another frame (H, W, C) where the flow leads; -1000 outside."""
    y, x = np.indices(flow.shape[:2])
    targets = [y + flow[..., 1], x + flow[..., 0]]
    channels = [
        ndimage.map_coordinates(channel.astype("float64"), targets, order=order, cval=-1000)
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, axis=-1)


def validity(dataset, first, second):
    """The forward-backward check, with a threshold of one pixel."""
    flow, back = dataset.flow(first, second), dataset.flow(second, first)
    return np.hypot(*np.moveaxis(flow + warped(back, flow), -1, 0)) <= 1


def neighbours(labels, mask, direction):
    """The class next to a region, straight out from its middle; None at the border."""
    y, x = (round(value) for value in ndimage.center_of_mass(mask))
    dy, dx = STEPS[direction]
    while 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]:
        if not mask[y, x]:
            return CLASSES.names[labels[y, x]]
        y, x = y + dy, x + dx
    return None


def share(pictures, name, relation):
    """How often a class's regions have a relation's neighbour in its direction."""
    directions = STEPS if relation.direction == "around" else [relation.direction]
    found = []
    for labels in pictures:
        regions, count = ndimage.label(labels == CLASSES.names.index(name))
        for number in range(1, count + 1):
            seen = {neighbours(labels, regions == number, d) for d in directions}
            found.append(seen == {relation.neighbour})
    return np.mean(found)


def test_the_next_frame_warped_is_this_one(clean, links):
    for first, second in links:
        valid = validity(clean, first, second)
        expected = clean.read_frame(first).astype("float64")
        error = np.abs(warped(clean.read_frame(second), clean.flow(first, second)) - expected)
        assert error[valid].mean() < 2  # 0..255; what moves, moves by fractions of a pixel
        assert (error[valid] > 30).mean() < 0.02


def test_labels_move_along_the_flow(clean, links):
    for first, second in links:
        labels = clean.read(first)[1]
        there = warped(clean.read(second)[1][..., None], clean.flow(first, second), order=0)
        agree = (there[..., 0] == labels)[validity(clean, first, second)]
        assert agree.mean() > 0.94
        rim = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
        inside = validity(clean, first, second) & ~rim  # at the rim it is a matter of rounding
        assert (there[..., 0] == labels)[inside].mean() > 0.995


def test_the_check_finds_what_is_covered(clean, links):
    """A pixel whose layer is not the one in front where the flow leads has no link."""
    missed = hidden = 0
    for first, second in links:
        video, frame = clean._find_video(first)
        flow = clean.flow(first, second)
        front = video.view(frame)[0]
        other = video.view(clean._find_video(second)[1])[0]
        there = warped(other[..., None], flow, order=0)[..., 0]
        covered = there != front
        inside = ndimage.binary_erosion(covered)  # at a layer's rim it is a matter of rounding
        missed += (validity(clean, first, second) & inside).sum()
        hidden += inside.sum()
    assert hidden > 1000
    # Two layers that move alike within a pixel pass the check, and may.
    assert missed / hidden < 0.01


def test_most_pixels_have_a_link_and_some_have_none(clean, links):
    valid = np.mean([validity(clean, *link) for link in links])
    assert 0.85 < valid < 0.97


def test_flow_backwards_undoes_flow_forwards(clean):
    first, _, third, *_ = clean.sequences["train"][0]
    sky = clean.read(first)[1] == CLASSES.names.index("sky")
    there, back = clean.flow(first, third)[sky], clean.flow(third, first)
    np.testing.assert_allclose(there, np.broadcast_to(there[0], there.shape))
    assert (back == -there[0]).all(axis=-1).mean() > 0.5
    np.testing.assert_array_equal(clean.flow(first, first), 0)


def test_things_move_fast_and_the_background_slowly(clean, links):
    speeds = {name: [] for name in ("grass", "car", "ball", "balloon")}
    for first, second in links:
        labels, flow = clean.read(first)[1], clean.flow(first, second)
        for name, found in speeds.items():
            found.append(np.abs(flow[..., 0][labels == CLASSES.names.index(name)]))
    speeds = {name: np.concatenate(found) for name, found in speeds.items()}
    assert 0 < np.median(speeds.pop("grass")) < 3
    for found in speeds.values():
        assert found.min() > 2.9 and 4 < np.median(found) < 10 and found.max() < 11.1


def test_flow_is_between_frames_of_one_sequence(clean):
    one, other = clean.sequences["train"][:2]
    with pytest.raises(ValueError, match="train_00001/000000"):
        clean.flow(one[0], other[0])


def test_noise_is_drawn_anew_for_each_frame():
    scenes = MovingScenesDataset({"train": 1}, seed=2)
    quiet = MovingScenesDataset({"train": 1}, seed=2, noise=0)
    noise = []
    for example in scenes.splits["train"]:
        difference = scenes.read_frame(example).astype(float) - quiet.read_frame(example)
        noise.append(difference - difference.mean())
        np.testing.assert_array_equal(scenes.read(example)[1], quiet.read(example)[1])
    assert np.std(noise) > 10
    assert np.abs(np.corrcoef(np.reshape(noise, (6, -1))) - np.eye(6)).max() < 0.1


def test_a_frame_depends_on_seed_split_and_sequence_alone():
    small = MovingScenesDataset({"val": 1, "train": 2}, seed=5)
    large = MovingScenesDataset({"train": 4}, seed=5)
    for a, b in zip(small.splits["train"], large.splits["train"][:12], strict=True):
        for x, y in zip(small.read(a), large.read(b), strict=True):
            np.testing.assert_array_equal(x, y)
    other = MovingScenesDataset({"train": 1}, seed=6)
    firsts = [
        small.read_frame(small.splits["train"][0]),
        small.read_frame(small.splits["train"][1]),
        small.read_frame(small.splits["train"][6]),
        small.read_frame(small.splits["val"][0]),
        other.read_frame(other.splits["train"][0]),
    ]
    assert len({image.tobytes() for image in firsts}) == 5


def test_types_and_sizes():
    scenes = MovingScenesDataset({"train": 2}, size=(60, 64), frames=3)
    first, second = scenes.sequences["train"][0][:2]
    image, labels = scenes.read(first)
    flow = scenes.flow(first, second)
    assert (image.shape, image.dtype) == ((60, 64, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((60, 64), np.uint8)
    assert (flow.shape, flow.dtype) == ((60, 64, 2), np.float32)
    assert len(scenes.splits["train"]) == 6
    assert {s: len(c) for s, c in MovingScenesDataset().sequences.items()} == {
        "train": 150,
        "val": 30,
        "test": 60,
    }


def test_a_long_sequence_never_runs_empty():
    scenes = MovingScenesDataset({"train": 1}, frames=60)
    last = scenes.read(scenes.splits["train"][-1])[1]
    assert len(np.unique(last)) > 4


def test_clips_come_from_the_base_class(clean):
    sequence = clean.sequences["train"][0]
    clip = clean.read_clip(sequence[0], 3)
    np.testing.assert_array_equal(clip.frames[2], clean.read_frame(sequence[1]))
    np.testing.assert_array_equal(clip.forward_flow[1], clean.flow(*sequence[:2]))
    np.testing.assert_array_equal(clip.backward_flow[1], clean.flow(*sequence[1::-1]))
    assert (clip.forward_flow[0] == INVALID_FLOW).all()


def test_all_classes_are_common(clean):
    labels = np.stack([clean.read(example)[1] for example in clean.splits["train"]])
    assert np.bincount(labels.ravel(), minlength=11).min() / labels.size > 0.004


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.label)
def test_relations_hold_though_things_cover_each_other(relation):
    scenes = MovingScenesDataset({"train": 40}, seed=1)
    pictures = [scenes.read(sequence[3])[1] for sequence in scenes.sequences["train"]]
    (other,) = {name for pair in CONFUSABLE if relation.label in pair for name in pair} - {
        relation.label
    }
    assert share(pictures, relation.label, relation) > 0.5
    assert share(pictures, other, relation) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": {"train": -1}}, "`sizes`"),
        ({"size": (20, 128)}, "`size`"),
        ({"seed": -1}, "`seed`"),
        ({"frames": 0}, "`frames`"),
        ({"noise": -1.0}, "`noise`"),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MovingScenesDataset(**options)
