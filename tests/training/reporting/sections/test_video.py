import keras
import numpy as np
import pytest

from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor
from keras_dpn.models import SpatialTemporalDPN
from training.data.clips.base import ClipDataset
from training.data.dataset import Example
from training.reporting.context import ReportContext
from training.reporting.sections import video
from training.reporting.sections.video import VideoFrames

CLASSES = Classes(("dark", "bright"), ((9, 9, 9), (200, 0, 0)), ignore=7)


class Video(ClipDataset):
    """A bright column that moves one pixel to the right per frame; in some frames one pixel is lit.

    Args:
        labelled: numbers of the frames that have labels.
        lit: numbers of the frames in which the pixel at (0, 0) is bright.
    """

    name = "video"
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


def notes(row):
    """Titles and notes of the columns."""
    return [(column.title, column.note) for column in row.columns]


def sequence_of(dataset):
    (sequence,) = video.labeled_sequences(dataset, "val")
    return sequence


def video_row(dataset, **options):
    return video.video_row(Predictor(bright_model()), sequence_of(dataset), **options)


def test_labels_that_move_with_the_image_are_kept():
    row = video_row(Video())
    names = [f"f/{t}" for t in range(1, 7)]
    assert notes(row) == [(names[0], ""), *((name, "100.0 % kept") for name in names[1:])]
    assert [len(column.images) for column in row.columns] == [4] * 6 and row.is_fine


def test_inconsistency_is_counted_where_the_flow_leads():
    found = notes(video_row(Video(lit=[3]), max_frames=3))
    # Pixel (0, 0) of frame 3 comes from outside; in frame 4 it has gone, and is at (0, 1).
    assert found == [("f/3", ""), ("f/4", f"{100 * 43 / 44:.1f} % kept"), ("f/5", "100.0 % kept")]


def test_labels_are_those_of_the_predictors_head():
    dataset = Video()
    truth = [dataset.read(example)[1] for example in dataset.sequences["val"][1][:2]]
    predictor = Predictor(bright_model())
    found = video.predict_frames(predictor, sequence_of(dataset), slice(0, 2))
    np.testing.assert_array_equal(found, truth)


def test_inconsistency_marks_the_pixel():
    dataset = Video(lit=[0])
    a, b = dataset.sequences["val"][1][:2]
    before, labels = (dataset.read(example)[1] for example in (a, b))
    changed, linked = video.inconsistency(labels, before, dataset.flow(b, a), dataset.flow(a, b))
    assert np.argwhere(changed).tolist() == [[0, 1]]
    assert not linked[:, 0].any() and linked[:, 1:].all()


def test_frames_without_labels_have_no_ground_truth():
    row = video_row(Video(labelled=[5]), max_frames=2)
    assert [column.title for column in row.columns] == ["f/4", "f/5"]
    truths, predictions = zip(*(column.images[1:3] for column in row.columns), strict=True)
    assert truths[0].uri != predictions[0].uri and truths[1].uri == predictions[1].uri


def test_without_consecutive_frames_there_is_no_section(small_scenes):
    def applies(dataset, num_images=1):
        return VideoFrames().applies(ReportContext(None, dataset, None, "val", [1], num_images))

    assert applies(Video()) and not applies(Video(), num_images=0)
    assert not applies(small_scenes) and not applies(Video(labelled=[0], count=1))


@pytest.mark.parametrize(
    ("labelled", "expected"),
    [([0], (0, 4)), ([9], (6, 10)), ([1, 5, 9], (3, 7)), (range(10), (3, 7))],
)
def test_the_frames_are_around_the_middle_label(labelled, expected):
    shown = video.around_labels([t in labelled for t in range(10)], 4)
    assert (shown.start, shown.stop) == expected
    assert video.around_labels([True, True], 4) == slice(0, 4)


@pytest.mark.parametrize(
    ("shown", "seen"),
    [(slice(0, 2), [0, 1, 2, 3]), (slice(3, 6), range(1, 8)), (slice(6, 10), [4, 5, 6, 7])],
)
def test_a_network_for_clips_sees_the_frames_next_to_those_shown(shown, seen, monkeypatch):
    def predict(predictor, frames, links):
        """Labels say which frame was seen."""
        for frame, (forward, backward) in zip(frames, [*links, (1, -1)], strict=True):
            assert np.all(forward == -backward) and predictor.heads == ("final",)
            numbers.append(int(frame[1, :, 0].argmax()) - 1)
            yield {"final": np.tile(np.eye(8)[numbers[-1]], (4, 12, 1))}

    numbers = []
    monkeypatch.setattr(Predictor, "video", predict)
    backbone = {"fc6_kernel": 1, "fc_width": 8}
    model = SpatialTemporalDPN(2, frames=5, width=0.04, backbone=backbone, pairwise=None)
    dataset, predictor = Video(), Predictor(model, heads=("final",))
    found = video.predict_frames(predictor, sequence_of(dataset), shown)
    assert numbers == list(seen)
    assert [int(labels.max()) for labels in found] == list(range(8))[shown]
