import base64
import io

import numpy as np
import pytest
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor
from keras_dpn.models import SpatialTemporalDPN
from training.data.generated.moving_scenes import MovingScenesDataset
from training.data.sampling import Sample, read_samples
from training.reporting import images
from training.reporting.images import RIGHT, WRONG
from training.reporting.rendering import render
from training.reporting.runs import Run
from training.rundir.models import load_model

INPUTS = ("frames", "forward_flow", "backward_flow")
CLASSES = Classes(("a", "b"), ((9, 9, 9), (200, 0, 0)), ignore=7)


def pixels(embedded):
    content = base64.b64decode(embedded.uri.split(",")[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def blank(labels, name="x"):
    return Sample(name, np.zeros((*labels.shape, 3), "uint8"), labels)


def html(row):
    return render("head_images", rows=[("title", row)])


def test_row_shows_what_became_right_and_wrong():
    labels = np.array([[0, 0, 1, 1, 7]], "uint8")
    before = np.array([[0, 1, 0, 1, 0]], "uint8")
    after = np.array([[1, 0, 0, 1, 1]], "uint8")
    image = np.full((1, 5, 3), 55, "uint8")
    predictions = {"first": before, "second": after}
    row = images.comparison_row(Sample("x<", image, labels), predictions, CLASSES)
    assert [column.title for column in row.columns] == ["x<", "ground truth", "first", "second"]
    alts = [[shown.alt for shown in column.images] for column in row.columns]
    assert alts == [
        ["x<"],
        ["ground truth"],
        ["first", "errors: first"],
        ["second", "errors: second"],
    ]
    np.testing.assert_array_equal(pixels(row.columns[0].images[0]), image)
    gray = [193, 193, 193]
    errors = pixels(row.columns[2].images[1])[0].tolist()
    assert errors == [gray, list(WRONG), list(WRONG), gray, gray]
    assert pixels(row.columns[2].images[0])[0, :2].tolist() == [[9, 9, 9], [200, 0, 0]]
    assert row.columns[2].change is None
    change = row.columns[3].change
    assert pixels(change.image)[0].tolist() == [list(WRONG), list(RIGHT), gray, gray, gray]
    assert row.columns[2].note == "50.0 % right"  # 2 of the 4 pixels that count
    assert (change.fixed, change.regressed) == (0.25, 0.25)
    text = html(row)
    assert "x&lt;" in text and "x<" not in text
    assert 'class="up">+25.0' in text and 'class="down">−25.0' in text
    assert 'class="comparison-row fine" style="--columns: 4"' in text


def test_runs_are_compared_with_the_first():
    labels = np.zeros((1, 4), "uint8")
    found = {str(right): np.uint8(np.arange(4)[None] >= right) for right in (1, 2, 4)}

    def fixed(**options):
        row = images.comparison_row(blank(labels), found, CLASSES, **options)
        return [column.change.fixed for column in row.columns[3:]]

    assert fixed(from_first=True) == [0.25, 0.75]
    assert fixed() == [0.25, 0.5]


def test_row_says_where_nothing_changed():
    labels = np.zeros((2, 2), "uint8")
    row = images.comparison_row(blank(labels), {"a": labels, "b": labels}, CLASSES)
    assert row.columns[-1].change.is_empty
    assert "no pixel changed its score" in html(row)


def test_row_of_an_image_that_is_ignored_altogether():
    labels, zeros = np.full((2, 2), 7, "uint8"), np.zeros((2, 2), "uint8")
    row = images.comparison_row(blank(labels), {"a": zeros, "b": zeros}, CLASSES)
    assert row.columns[-1].note == "– % right"


def test_wide_images_are_not_shown_pixel_by_pixel():
    wide = np.zeros((1, 300), "uint8")
    assert not images.comparison_row(blank(wide), {}, CLASSES).is_fine
    assert images.comparison_row(blank(wide[:, 1:]), {}, CLASSES).is_fine


@pytest.mark.usefixtures("eager")
def test_each_stage_is_shown_at_its_head(finished_run, small_scenes):
    run, samples = Run.load(finished_run), read_samples(small_scenes, "val", 1)
    (found,) = images.predict_stages(run, samples)
    heads = {"unary": ("unary term", "unary"), "joint": ("joint training", "final")}
    assert list(found) == [title for title, _ in heads.values()]
    for stage, (title, head) in heads.items():
        predictor = Predictor(load_model(finished_run, stage), heads=(head,))
        np.testing.assert_array_equal(found[title], predictor.labels(samples[0].image))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("linking", ["flow", "static"])
def test_a_network_for_clips_sees_the_neighbors(linking):
    settings = {"width": 0.04, "backbone": {"name": "large_fov", "fc_width": 8}}
    settings |= {"local_conv": {"window": 3, "scale": 5.0}, "pairwise_stride": 8}
    settings |= {"contexts": {"window": 3, "mixtures": 1}}
    model = SpatialTemporalDPN(11, linking=linking, **settings)
    moving = MovingScenesDataset({"val": 1}, size=(48, 64), frames=3)
    predictor = Predictor(model, heads=("final",))
    for sample in read_samples(moving, "val", 2, model.clip_frames):  # the first and the last
        inputs = {name: getattr(sample.clip, name)[None].astype("float32") for name in INPUTS}
        given = images.model_inputs(model, sample)
        if linking == "static":
            given, inputs = {"frames": given}, {"frames": inputs["frames"]}
        assert given.keys() == inputs.keys()
        for name, value in inputs.items():
            np.testing.assert_array_equal(given[name], value)
        logits = model(inputs if linking == "flow" else inputs["frames"])
        labels = images.predict_labels(predictor, sample)
        np.testing.assert_array_equal(labels, np.argmax(logits[0], axis=-1))
