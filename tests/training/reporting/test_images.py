import base64
import io
import re

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.models import SpatialTemporalDPN
from keras_dpn.models.staged import StagedModel
from training.data.generated.moving_scenes import MovingScenesDataset
from training.reporting import images as pictures
from training.reporting.images import RIGHT, WRONG, Picture

INPUTS = ("frames", "forward_flow", "backward_flow")
CLASSES = Classes(("a", "b"), ((9, 9, 9), (200, 0, 0)), ignore=7)


def clip_network(linking):
    settings = {"width": 0.04, "trunk": "large_fov", "fc_width": 8, "mixtures": 1}
    settings |= {"triple_window": 3, "context_window": 3, "pairwise_stride": 8, "scale": 5.0}
    return SpatialTemporalDPN(11, linking=linking, **settings)


@pytest.fixture(scope="module")
def moving():
    return MovingScenesDataset({"val": 1}, size=(48, 64), frames=3)


def images(text):
    found = re.findall(r'alt="([^"]*)" src="data:image/\w+;base64,([^"]*)"', text)
    return [
        (alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")))
        for alt, data in found
    ]


def test_strip_shows_what_became_right_and_wrong():
    labels = np.array([[0, 0, 1, 1, 7]], "uint8")
    before = np.array([[0, 1, 0, 1, 0]], "uint8")
    after = np.array([[1, 0, 0, 1, 1]], "uint8")
    image = np.full((1, 5, 3), 55, "uint8")
    text = pictures.strip(Picture("x<", image, labels), {"unary": before, "triple": after}, CLASSES)
    shown = images(text)
    assert [alt for alt, _ in shown] == [
        *("x&lt;", "truth", "unary term", "errors: unary term", "+ triple penalty (b12)"),
        *("errors: + triple penalty (b12)", "what changed"),
    ]
    np.testing.assert_array_equal(shown[0][1], image)
    grey = [193, 193, 193]
    errors = shown[3][1][0].tolist()
    assert errors == [grey, list(WRONG), list(WRONG), grey, grey]
    assert shown[4][1][0, :2].tolist() == [[200, 0, 0], [9, 9, 9]]
    changed = shown[6][1][0].tolist()
    assert changed == [list(WRONG), list(RIGHT), grey, grey, grey]
    assert "50.0 % right" in text  # 2 of the 4 pixels that count
    assert "+25.0" in text
    assert "−25.0" in text


def test_runs_are_compared_with_the_first():
    labels = np.zeros((1, 4), "uint8")
    found = {str(right): np.uint8(np.arange(4)[None] >= right) for right in (1, 2, 4)}
    picture = Picture("x", np.zeros((1, 4, 3), "uint8"), labels)
    text = pictures.strip(picture, found, CLASSES, from_first=True)
    assert re.findall(r">\+([\d.]+)<", text) == ["25.0", "75.0"]
    text = pictures.strip(picture, found, CLASSES)
    assert re.findall(r">\+([\d.]+)<", text) == ["25.0", "50.0"]


def test_large_pictures_are_shrunk():
    image = np.full((600, 1700, 3), 40, "uint8")
    text = pictures.show(image, "x") + pictures.strip(
        Picture("y", image, image[..., 0] * 0), {"final": image[..., 0] * 0}, CLASSES
    )
    assert {shown.shape for _, shown in images(text)} == {(200, 567, 3)}


def test_strip_says_where_nothing_changed():
    labels = np.zeros((2, 2), "uint8")
    picture = Picture("x", np.zeros((2, 2, 3), "uint8"), labels)
    text = pictures.strip(picture, {"contexts": labels, "final": labels}, CLASSES)
    assert "no pixel changed its score" in text


def test_strip_of_a_picture_that_is_ignored_altogether():
    labels = np.full((2, 2), 7, "uint8")
    picture = Picture("x", np.zeros((2, 2, 3), "uint8"), labels)
    zeros = np.zeros((2, 2), "uint8")
    assert "– % right" in pictures.strip(picture, {"unary": zeros, "final": zeros}, CLASSES)


def test_pictures_are_spread_over_the_split(small_scenes):
    names = [p.name for p in pictures.read_pictures(small_scenes, "val", 2)]
    examples = small_scenes.examples("val")
    assert names == [examples[0].name, examples[-1].name]
    assert len(pictures.read_pictures(small_scenes, "val", 99)) == 3
    chosen = pictures.read_pictures(small_scenes, "val", 1, names=names[::-1])
    assert [picture.name for picture in chosen] == names[::-1]
    with pytest.raises(ValueError, match="scenes has no nowhere in its split 'val'"):
        pictures.read_pictures(small_scenes, "val", 1, names=["nowhere"])
    with pytest.raises(ValueError, match="at least one picture"):
        pictures.read_pictures(small_scenes, "val", 0)


def test_stage_labels_follow_the_stage_where_the_model_has_it():
    def constant(*bias):
        return keras.layers.Conv2D(
            2, 1, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(bias)
        )(pixels)

    pixels = keras.Input((None, None, 3))
    heads = {"unary": constant(1.0, 0.0), "final": constant(0.0, 1.0)}
    model = StagedModel(pixels, heads, {"name": "constant"})
    image = np.zeros((2, 3, 3), "uint8")
    picture = Picture("x", image, np.zeros((2, 3), "uint8"))
    assert (pictures.stage_labels(model, "unary", picture) == 0).all()
    assert (pictures.stage_labels(model, "joint", picture) == 1).all()
    without_heads = keras.Model(pixels, constant(1.0, 0.0))
    assert (pictures.stage_labels(without_heads, "final", picture) == 0).all()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("linking", ["flow", "static"])
def test_a_network_for_clips_sees_the_neighbours(moving, linking):
    model = clip_network(linking)
    length = pictures.clip_length(model)
    for picture in pictures.read_pictures(moving, "val", 2, length):  # the first and the last
        example = next(e for e in moving.examples("val") if e.name == picture.name)
        clip = moving.read_clip(example, 3)
        np.testing.assert_array_equal(picture.image, clip.frames[1])
        np.testing.assert_array_equal(picture.labels, clip.labels)
        inputs = {name: getattr(clip, name)[None].astype("float32") for name in INPUTS}
        given = pictures.model_inputs(model, picture)
        if linking == "static":
            given, inputs = {"frames": given}, {"frames": inputs["frames"]}
        assert given.keys() == inputs.keys()
        for name, value in inputs.items():
            np.testing.assert_array_equal(given[name], value)
        logits = model(inputs if linking == "flow" else inputs["frames"])
        for stage in ("final", "joint"):
            labels = pictures.stage_labels(model, stage, picture)
            np.testing.assert_array_equal(labels, np.argmax(logits[0], axis=-1))


def test_clips_are_read_from_clips_alone(small_scenes):
    assert pictures.clip_length(keras.Sequential()) is None
    with pytest.raises(ValueError, match="data set of clips, which scenes is not"):
        pictures.read_pictures(small_scenes, "val", 1, frames=3)
