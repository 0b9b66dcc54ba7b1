from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import scipy
import tensorflow as tf

from keras_dpn.classes import Classes
from keras_dpn.ops import warp
from training.configs.schema import Augmentation
from training.data.clips.base import ClipDataset
from training.data.dataset import Dataset, Example
from training.data.pipeline.augmentation import augment
from training.data.pipeline.batches import eval_dataset, steps_per_epoch, train_dataset
from training.data.pipeline.clips import ClipInputs
from training.data.pipeline.part import Part
from training.data.pipeline.transforms import PAD_COLOR

FULL = Augmentation((12, 10), (0.5, 1.5), True, 0.1, 0.2, 0.2)
PLAIN = Augmentation((8, 8), horizontal_flip=False)


class Numbered(Dataset):
    """Example i is filled with i and has label i % 3; sizes differ."""

    name = "numbered"
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))

    def __init__(self, count=7, same_size=False):
        self.splits = {"train": tuple(Example(str(i), index=i) for i in range(count))}
        self.reads = Counter()
        self.same_size = same_size

    def read(self, example):
        i = example.index
        self.reads[i] += 1
        size = (8, 8) if self.same_size else (8 + i, 14 - i)
        return np.full((*size, 3), i, "uint8"), np.full(size, i % 3, "uint8")


def batches(dataset, augmentation=FULL, **options):
    options = {"batch_size": 2, "seed": 1, "epochs": 3} | options
    return [
        (image.numpy(), labels.numpy())
        for image, labels in train_dataset(dataset, "train", augmentation=augmentation, **options)
    ]


def assert_equal(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_shapes_types_and_ranges():
    dataset = train_dataset(Numbered(), "train", batch_size=2, augmentation=FULL, seed=0, epochs=1)
    spec_image, spec_labels = dataset.element_spec
    assert spec_image == tf.TensorSpec((2, 12, 10, 3), "float32")
    assert spec_labels == tf.TensorSpec((2, 12, 10), "int32")
    for image, labels in dataset:
        assert np.min(image) >= 0 and np.max(image) <= 255
        assert set(np.unique(labels)) <= {0, 1, 2, 255}


def test_resized_images():
    options = {"batch_size": 2, "resize": (6, 4)}
    train = train_dataset(
        Numbered(), "train", augmentation=Augmentation(crop=(6, 4)), seed=0, epochs=1, **options
    )
    for image, labels in (*train, *eval_dataset(Numbered(), "train", **options)):
        assert image.shape[1:] == (6, 4, 3) and image.dtype == "float32"
        assert labels.shape[1:] == (6, 4) and labels.dtype == "int32"
        for one, its_labels in zip(image.numpy(), labels.numpy(), strict=True):
            np.testing.assert_allclose(one, one[0, 0, 0], rtol=1e-6)  # nothing is padded
            assert (its_labels == round(float(one[0, 0, 0])) % 3).all()


def test_deterministic():
    assert_equal(batches(Numbered()), batches(Numbered()))


def test_a_later_start_sees_what_an_undisturbed_run_sees():
    augmentation = replace(FULL, rotation=20, blur=1, cutout=0.5)
    undisturbed = batches(Numbered(), augmentation, epochs=4)
    assert_equal(batches(Numbered(), augmentation, first_epoch=2, epochs=4), undisturbed[2 * 3 :])


def test_without_cache_the_same():
    assert_equal(batches(Numbered()), batches(Numbered(), cache=False))


def test_the_same_without_parallel_calls():
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    dataset = train_dataset(Numbered(), "train", batch_size=2, augmentation=FULL, seed=1, epochs=3)
    alone = [(a.numpy(), b.numpy()) for a, b in dataset.with_options(options)]
    assert_equal(alone, batches(Numbered()))


def test_seeds_and_epochs_differ():
    run = batches(Numbered(20, same_size=True), PLAIN, batch_size=20, epochs=2)
    other = batches(Numbered(20, same_size=True), PLAIN, batch_size=20, epochs=1, seed=2)
    orders = {image[:, 4, 4, 0].tobytes() for image, _ in run + other}
    assert len(orders) == 3


def test_augmentation_differs_between_examples_and_epochs():
    dataset = Numbered(4)
    dataset.read = lambda example: (np.full((8, 8, 3), 99, "uint8"), np.zeros((8, 8), "uint8"))
    run = batches(dataset, Augmentation((8, 8), brightness=0.2), batch_size=4)
    assert len({float(value) for image, _ in run for value in image[:, 0, 0, 0]}) == 4 * 3


def test_every_epoch_has_each_example_at_most_once():
    run = batches(Numbered(same_size=True), PLAIN, epochs=3)
    assert len(run) == 9  # 3 full batches of 2 an epoch; the seventh is left out
    for epoch in range(3):
        seen = [int(v) for image, _ in run[3 * epoch : 3 * epoch + 3] for v in image[:, 0, 0, 0]]
        assert len(set(seen)) == 6


@pytest.mark.parametrize("steps_per_update", [1, 2])
def test_parts_make_the_batches_of_one_process(steps_per_update):
    options = {"batch_size": 4, "steps_per_update": steps_per_update, "cache": False}
    whole = batches(Numbered(9), epochs=2, **options)
    readers = [Numbered(9) for _ in range(2)]
    parts = [
        batches(reader, epochs=2, part=Part(index, 2), **options)
        for index, reader in enumerate(readers)
    ]
    assert len(whole) == 4
    joined = [
        tuple(np.concatenate(pair) for pair in zip(*both, strict=True))
        for both in zip(*parts, strict=True)
    ]
    assert_equal(joined, whole)
    assert [reader.reads.total() for reader in readers] == [8, 8]


def test_an_epoch_has_whole_updates():
    run = batches(Numbered(7, same_size=True), PLAIN, epochs=2, steps_per_update=2)
    assert [len(image) for image, _ in run] == [2, 2] * 2


def test_image_and_labels_belong_together():
    for image, labels in batches(Numbered(same_size=True), PLAIN):
        np.testing.assert_array_equal(labels, image[..., 0].astype(int) % 3)


def test_cache_decodes_once():
    cached, plain = Numbered(), Numbered()
    batches(cached, epochs=5, batch_size=7)
    batches(plain, epochs=5, batch_size=7, cache=False)
    assert set(cached.reads.values()) == {1}
    assert set(plain.reads.values()) == {5}


def test_pipelines_of_a_data_set_share_the_cache():
    dataset = Numbered()
    batches(dataset, batch_size=7, epochs=1)
    batches(dataset, batch_size=7, epochs=1, seed=2)
    list(eval_dataset(dataset, "train", batch_size=3, cache=True))
    assert set(dataset.reads.values()) == {1}


def test_nothing_left_of_a_finished_run():
    assert batches(Numbered(), first_epoch=3, epochs=3) == []


def test_augment_without_anything_is_the_picture():
    image, labels = Numbered().read(Example("", index=2))
    result = augment(
        image, labels.astype("int32"), Augmentation((10, 12), horizontal_flip=False), 255, [1, 2]
    )
    np.testing.assert_allclose(result[0], image, atol=1e-4)
    np.testing.assert_array_equal(result[1], labels)


def test_cutout_leaves_the_other_random_numbers():
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), "uint8")
    labels, plain = np.zeros((9, 8), "int32"), Augmentation((12, 10), (0.5, 1.5), True, 0.1, 0.2)
    before, expected = augment(image, labels, plain, 255, [1, 2])
    after, found = augment(image, labels, replace(plain, cutout=0.5), 255, [1, 2])
    np.testing.assert_array_equal(found, expected)
    is_same = np.all(before == after, axis=-1)
    assert 0 < np.sum(~is_same) <= 30
    np.testing.assert_allclose(after[~is_same] - PAD_COLOR, 0.0, atol=1e-4)


def test_steps_per_epoch():
    assert steps_per_epoch(Numbered(7), "train", 2) == 3
    with pytest.raises(ValueError, match="7 examples, .* a batch of 8. Lower --data.batch-size"):
        steps_per_epoch(Numbered(7), "train", 8)
    with pytest.raises(ValueError, match="`batch_size`"):
        steps_per_epoch(Numbered(7), "train", 0)
    with pytest.raises(ValueError, match="received 'val'"):
        steps_per_epoch(Numbered(7), "val", 2)


def test_epochs_out_of_order():
    with pytest.raises(ValueError, match="`first_epoch`"):
        batches(Numbered(), first_epoch=4)


def test_evaluation_pads_with_the_ignore_label():
    result = list(eval_dataset(Numbered(3), "train", batch_size=2))
    assert [image.shape for image, _ in result] == [(2, 9, 14, 3), (1, 10, 12, 3)]
    image, labels = result[0]
    assert (image.dtype, labels.dtype) == (tf.uint8, tf.int32)
    np.testing.assert_array_equal(labels[0, :8, :14], np.zeros((8, 14)))
    np.testing.assert_array_equal(labels[0, 8:], np.full((1, 14), 255))
    np.testing.assert_array_equal(image[1, :, 13:], np.zeros((9, 1, 3)))
    np.testing.assert_array_equal(image[1, :, :13], np.ones((9, 13, 3)))


def test_evaluation_has_all_in_order():
    pixels = [
        int(v)
        for image, _ in eval_dataset(Numbered(), "train", batch_size=3)
        for v in image[:, 0, 0, 0]
    ]
    assert pixels == list(range(7))


def test_evaluation_fills_up_the_last_batch():
    full = list(eval_dataset(Numbered(5), "train", batch_size=4, pad_to_full_batch=True))
    assert [image.shape[0] for image, _ in full] == [4, 4]
    assert np.all(full[1][1][1:] == 255) and np.all(full[1][1][0] != 255)
    even = list(eval_dataset(Numbered(4), "train", batch_size=4, pad_to_full_batch=True))
    assert len(even) == 1


@pytest.mark.parametrize("count", [4, 5, 7])
def test_parts_of_an_evaluation_have_the_sizes_of_one_process(count):
    whole = list(eval_dataset(Numbered(count), "train", batch_size=4, pad_to_full_batch=True))
    readers = [Numbered(count) for _ in range(2)]
    sizes = [(8 + i, 14 - i) for i in range(count)]
    parts = [
        list(eval_dataset(reader, "train", batch_size=4, part=Part(index, 2), sizes=sizes))
        for index, reader in enumerate(readers)
    ]
    for expected, first, second in zip(whole, *parts, strict=True):
        for a, b, both in zip(first, second, expected, strict=True):
            np.testing.assert_array_equal(np.concatenate([a, b]), both)
    assert sum(reader.reads.total() for reader in readers) == count


def test_parts_of_resized_images():
    options = {"batch_size": 4, "resize": (6, 10)}
    whole = list(eval_dataset(Numbered(5), "train", pad_to_full_batch=True, **options))
    parts = [list(eval_dataset(Numbered(5), "train", part=Part(i, 2), **options)) for i in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([parts[0][0][0], parts[1][0][0]]), whole[0][0])
    assert [image.shape for image, _ in parts[1]] == [(2, 6, 10, 3)] * 2


def test_a_batch_that_has_no_such_parts():
    with pytest.raises(ValueError, match="expected a multiple of 2 processes, received 3"):
        batches(Numbered(), batch_size=3, part=Part(0, 2))
    with pytest.raises(ValueError, match="expected a multiple of 2 processes, received 3"):
        eval_dataset(Numbered(), "train", batch_size=3, part=Part(1, 2))


@pytest.mark.parametrize(("cache", "reads"), [(True, 1), (False, 2)])
def test_evaluation_cache(cache, reads):
    dataset = Numbered(3)
    evaluation = eval_dataset(dataset, "train", batch_size=3, cache=cache)
    for _ in range(2):
        list(evaluation)
    assert set(dataset.reads.values()) == {reads}


def test_evaluation_of_nothing():
    with pytest.raises(ValueError, match="0 examples"):
        eval_dataset(Numbered(0), "train", batch_size=2)
    with pytest.raises(ValueError, match="`batch_size`"):
        eval_dataset(Numbered(3), "train", batch_size=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": (0, 5)}, "`crop`"),
        ({"crop": (5,)}, "`crop`"),
        ({"crop": (5, 5), "scale": (0.0, 1.0)}, "`scale`"),
        ({"crop": (5, 5), "scale": (2.0, 1.0)}, "`scale`"),
        ({"crop": (5, 5), "contrast": 1.5}, "`contrast`"),
        ({"crop": (5, 5), "brightness": -0.1}, "`brightness`"),
        ({"crop": (5, 5), "rotation": 181}, r"`rotation`: expected 0..180"),
        ({"crop": (5, 5), "blur": -1}, "`blur`"),
        ({"crop": (5, 5), "cutout": 2}, "`cutout`"),
    ],
)
def test_invalid_augmentation(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


class Sliding(ClipDataset):
    """Smooth pictures that move by (2, -1) pixels a frame; every frame has labels."""

    name = "sliding"
    classes = Numbered.classes
    motion = (2, -1)

    def __init__(self):
        frames = tuple(Example(str(i), index=i) for i in range(4))
        self.splits, self.sequences = {"train": frames}, {"train": (frames,)}

    def read_frame(self, example):
        y, x = np.mgrid[:40, :48]
        x, y = x - self.motion[0] * example.index, y - self.motion[1] * example.index
        waves = [np.sin(x / 5), np.cos(y / 4), np.sin((x + y) / 6)]
        return np.uint8(127 + 100 * np.stack(waves, axis=-1))

    def read(self, example):
        image = self.read_frame(example)
        return image, np.uint8(image[..., 0] > 127)

    def flow(self, first, second):
        return np.full((40, 48, 2), self.motion, "float32") * (second.index - first.index)


LINKED, STACKED = ClipInputs(3, flow=True), ClipInputs(3, flow=False)


@pytest.mark.parametrize("clips", [LINKED, STACKED])
def test_clips_as_they_are(clips):
    dataset = Sliding()
    inputs, labels = next(iter(eval_dataset(dataset, "train", batch_size=4, clips=clips)))
    for i, example in enumerate(dataset.splits["train"]):
        clip = dataset.read_clip(example, 3)
        np.testing.assert_array_equal(labels[i], clip.labels)
        for name in ("frames", "forward_flow", "backward_flow") if clips.flow else ():
            np.testing.assert_array_equal(inputs[name][i], getattr(clip, name))
        if not clips.flow:
            np.testing.assert_array_equal(inputs[i], clip.frames)


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation((30, 36), horizontal_flip=False),
        Augmentation((30, 36), (0.7, 1.4), horizontal_flip=True),
        Augmentation((30, 36), (0.7, 1.4), True, 0.1, 0.1, 0.1),
        Augmentation((64, 70)),  # padded
        Augmentation((30, 36), (0.9, 1.4), rotation=40, blur=0.5),
    ],
)
def test_flow_still_leads_from_frame_to_frame(augmentation):
    for inputs, labels in batches_of_clips(augmentation):
        frames, forward, backward = inputs.values()
        for this, there, flow in (
            (frames[:, 0], frames[:, 1], forward[:, 0]),
            (frames[:, 2], frames[:, 1], backward[:, 1]),
        ):
            counted = np.array(labels != 255)[..., None] & (
                np.abs(flow).max(-1, keepdims=True) < 100
            )
            y, x = np.mgrid[: labels.shape[1], : labels.shape[2]]
            inside = (x + flow[..., 0] > 3) & (x + flow[..., 0] < labels.shape[2] - 4)
            inside &= (y + flow[..., 1] > 3) & (y + flow[..., 1] < labels.shape[1] - 4)
            if augmentation.crop[0] > 60 or augmentation.rotation:  # the image's edge is inside
                inside &= ~((there == tf.constant(PAD_COLOR)).numpy().all(axis=-1))
                inside &= scipy.ndimage.binary_erosion(inside, np.ones((1, 9, 9)))
            difference = np.abs(warp(there, flow) - this)[counted[..., 0] & inside]
            assert len(difference) > 100 and difference.max() < 25


def batches_of_clips(augmentation):
    return train_dataset(
        Sliding(),
        "train",
        batch_size=2,
        augmentation=augmentation,
        seed=0,
        epochs=3,
        clips=LINKED,
    )


def test_missing_neighbours_stay_missing():
    for inputs, _ in batches_of_clips(Augmentation((30, 36), (0.7, 1.4), horizontal_flip=True)):
        flow = np.abs(inputs["forward_flow"])
        assert (flow.max(axis=(2, 3, 4)) < 10).any()
        unlinked = flow.max(axis=(2, 3, 4)) > 10
        assert (flow[unlinked] > 1e5).all()


def test_pictures_have_no_clips():
    with pytest.raises(ValueError, match="expected one of clips, received numbered"):
        eval_dataset(Numbered(), "train", batch_size=1, clips=LINKED)


def test_clips_are_cached():
    dataset = Sliding()
    reads = Counter()
    read_clip = dataset.read_clip
    dataset.read_clip = lambda example, **options: (
        reads.update([example.name]) or read_clip(example, **options)
    )
    for _ in train_dataset(
        dataset, "train", batch_size=2, augmentation=PLAIN, seed=0, epochs=3, clips=STACKED
    ):
        pass
    assert set(reads.values()) == {1}
