import re

import keras
import numpy as np
import pytest

from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor
from keras_dpn.models import SpatialTemporalDPN
from keras_dpn.models.staged import StagedModel
from training.data.clips.base import ClipDataset
from training.data.dataset import Example
from training.reporting.sections import video as films

CLASSES = Classes(("dark", "bright"), ((9, 9, 9), (200, 0, 0)), ignore=7)


class Film(ClipDataset):
    """A bright column that moves one pixel to the right a frame; in some frames one pixel is lit.

    Args:
        labelled: numbers of the frames that have labels.
        lit: numbers of the frames in which the pixel at (0, 0) is bright.
    """

    name = "film"
    classes = CLASSES

    def __init__(self, labelled=range(8), lit=(), count=8):
        frames = tuple(Example(f"f/{t}", index=t) for t in range(count))
        self.sequences = {"val": ((Example("short", index=0),), frames)}
        self.splits = {"val": tuple(frames[t] for t in labelled)}
        self.lit = lit

    def read_frame(self, example):
        image = np.zeros((4, 12, 3), "uint8")
        image[:, example.index + 1] = 200
        image[0, 0] = 200 * (example.index in self.lit)
        return image

    def read(self, example):
        return self.read_frame(example), np.uint8(self.read_frame(example)[..., 0] > 100)

    def flow(self, first, second):
        step = float(second.index - first.index)
        assert abs(step) == 1
        return np.tile(np.float32([step, 0]), (4, 12, 1))


def bright_model():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    kernel = np.array([[[[-1.0, 1.0]] * 3]], "float32")
    model.layers[-1].set_weights([kernel, np.array([150.0, -150.0])])
    return model


def cells(text):
    """Titles and notes."""
    captions = re.findall(r"<figcaption>(.*?)<br><span[^>]*>(.*?)</span></figcaption>", text)
    return [(title, note.replace("&nbsp;", "")) for title, note in captions]


def test_labels_that_move_with_the_picture_are_kept():
    text = films.film_strip(bright_model(), "unary", Film(), "val")
    names = [f"f/{t}" for t in range(1, 7)]
    assert cells(text) == [(names[0], ""), *((name, "100.0 % kept") for name in names[1:])]
    assert text.count("<img") == 4 * 6 and "--columns: 6" in text


def test_flicker_is_counted_where_the_flow_leads():
    found = cells(films.film_strip(bright_model(), "unary", Film(lit=[3]), "val", count=3))
    # Pixel (0, 0) of frame 3 comes from outside; in frame 4 it has gone, and lies at (0, 1).
    assert found == [("f/3", ""), ("f/4", f"{100 * 43 / 44:.1f} % kept"), ("f/5", "100.0 % kept")]


def test_labels_are_those_after_the_stage():
    bright, dataset = bright_model(), Film()
    heads = {"unary": 0 * bright.output, "final": bright.output}
    model = StagedModel(bright.input, heads, {"name": "staged"})
    sequence = dataset.sequences["val"][1]
    truth = [dataset.read(example)[1] for example in sequence[:2]]
    for stage, expected in (("joint", truth), ("unary", np.zeros((2, 4, 12)))):
        found = films.label_frames(model, stage, dataset, sequence, slice(0, 2))
        np.testing.assert_array_equal(found, expected)


def test_flicker_marks_the_pixel():
    dataset = Film(lit=[0])
    a, b = dataset.sequences["val"][1][:2]
    before, labels = (dataset.read(example)[1] for example in (a, b))
    changed, linked = films.flicker(labels, before, dataset.flow(b, a), dataset.flow(a, b))
    assert np.argwhere(changed).tolist() == [[0, 1]]
    assert not linked[:, 0].any() and linked[:, 1:].all()


def test_frames_without_labels_have_no_truth():
    dataset = Film(labelled=[5])
    text = films.film_strip(bright_model(), "unary", dataset, "val", count=2)
    assert [name for name, _ in cells(text)] == ["f/4", "f/5"]
    truths = re.findall(r'alt="truth" src="([^"]*)"', text)
    shown = re.findall(r'alt="labels" src="([^"]*)"', text)
    assert truths[0] != shown[0] and truths[1] == shown[1]


def test_without_frames_in_a_row_nothing_is_shown(small_scenes):
    assert films.film_strip(bright_model(), "unary", small_scenes, "val") == ""
    assert films.film_strip(bright_model(), "unary", Film(labelled=[0], count=1), "val") == ""


@pytest.mark.parametrize(
    ("labelled", "expected"),
    [([0], (0, 4)), ([9], (6, 10)), ([1, 5, 9], (3, 7)), (range(10), (3, 7))],
)
def test_the_frames_lie_around_the_middle_label(labelled, expected):
    shown = films.around_labels([t in labelled for t in range(10)], 4)
    assert (shown.start, shown.stop) == expected
    assert films.around_labels([True, True], 4) == slice(0, 4)


@pytest.mark.parametrize(
    ("shown", "seen"),
    [(slice(0, 2), [0, 1, 2, 3]), (slice(3, 6), range(1, 8)), (slice(6, 10), [4, 5, 6, 7])],
)
def test_a_network_for_clips_sees_the_frames_beside_those_shown(shown, seen, monkeypatch):
    def video(predictor, frames, links):
        """Labels say which frame was seen."""
        for frame, (forward, backward) in zip(frames, [*links, (1, -1)], strict=True):
            assert np.all(forward == -backward) and predictor.heads == ("final",)
            numbers.append(int(frame[1, :, 0].argmax()) - 1)
            yield {"final": np.tile(np.eye(8)[numbers[-1]], (4, 12, 1))}

    numbers = []
    monkeypatch.setattr(Predictor, "video", video)
    model = SpatialTemporalDPN(2, frames=5, width=0.04, fc6_kernel=1, fc_width=8, pairwise=None)
    dataset = Film()
    sequence = dataset.sequences["val"][1]
    found = films.label_frames(model, "joint", dataset, sequence, shown)
    assert numbers == list(seen)
    assert [int(labels.max()) for labels in found] == list(range(8))[shown]
