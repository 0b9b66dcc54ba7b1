import numpy as np
import pytest

from training.data.sampling import read_samples


def test_samples_are_spread_over_the_split(small_scenes):
    names = [sample.name for sample in read_samples(small_scenes, "val", 2)]
    examples = small_scenes.examples("val")
    assert names == [examples[0].name, examples[-1].name]
    assert len(read_samples(small_scenes, "val", 99)) == 3
    chosen = read_samples(small_scenes, "val", 1, names=names[::-1])
    assert [sample.name for sample in chosen] == names[::-1]
    image, labels = small_scenes.read(examples[-1])
    np.testing.assert_array_equal(chosen[0].image, image)
    np.testing.assert_array_equal(chosen[0].labels, labels)
    assert chosen[0].clip is None


def test_clips_are_read_around_their_middle_frame(small_clips):
    (sample,) = read_samples(small_clips, "train", 1, clip_frames=3)
    (example,) = [e for e in small_clips.examples("train") if e.name == sample.name]
    clip = small_clips.read_clip(example, 3)
    np.testing.assert_array_equal(sample.clip.frames, clip.frames)
    np.testing.assert_array_equal(sample.image, clip.frames[1])
    np.testing.assert_array_equal(sample.labels, clip.labels)


def test_what_cannot_be_read_is_refused(small_scenes):
    with pytest.raises(ValueError, match="scenes has no nowhere in its split 'val'"):
        read_samples(small_scenes, "val", 1, names=["nowhere"])
    with pytest.raises(ValueError, match="at least one image"):
        read_samples(small_scenes, "val", 0)
    with pytest.raises(ValueError, match="dataset of clips, which scenes is not"):
        read_samples(small_scenes, "val", 1, clip_frames=3)
