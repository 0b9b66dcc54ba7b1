import keras
import numpy as np
import pytest
from PIL import Image

import keras_dpn
from keras_dpn import Classes, Segmenter
from keras_dpn.inference import InferenceSettings
from keras_dpn.io.video import VideoWriter
from keras_dpn.models import DPN, SpatialTemporalDPN
from keras_dpn.models.staged import StagedModel
from keras_dpn.segmentation import Segmentation

pytestmark = pytest.mark.tensorflow_only  # its files and its presets need no second backend

BACKBONE = {"fc6_kernel": 1, "fc_width": 32}
CLASSES = Classes(("dark", "red"), ((0, 0, 0), (255, 0, 0)))


class RedModel(StagedModel):
    """Labels red what is red; it remembers the sizes of the images that it saw."""

    def __init__(self):
        image = keras.Input((None, None, 3))
        constant = keras.initializers.Constant
        kernel = np.zeros((1, 1, 3, 2), "float32")
        kernel[0, 0, 0, 1] = 0.1
        final = keras.layers.Conv2D(
            2, 1, kernel_initializer=constant(kernel), bias_initializer=constant([0.0, -10.0])
        )(image)
        heads = {"unary": keras.layers.Rescaling(-1.0)(final), "final": final}
        super().__init__(image, heads, {"name": "red_model"})
        self.sizes = []


def image_of(labels, factor=1):
    image = np.zeros((*labels.shape, 3), "uint8")
    image[..., 0] = 200 * labels
    return image.repeat(factor, 0).repeat(factor, 1)


LABELS = np.array([[0, 1, 1, 0], [0, 0, 1, 0], [1, 1, 1, 0]], "uint8")


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(RedModel(), CLASSES)


def test_arrays_files_pictures_and_lists(segmenter, tmp_path):
    image = image_of(LABELS)
    Image.fromarray(image).save(tmp_path / "a.png")
    sources = [tmp_path / "a.png", str(tmp_path / "a.png"), image, Image.fromarray(image)]
    for source in sources:
        np.testing.assert_array_equal(segmenter(source).labels, LABELS)
    results = segmenter(sources)
    assert [r.labels.tolist() for r in results] == 4 * [LABELS.tolist()]
    assert segmenter([]) == []
    np.testing.assert_array_equal(segmenter.labels(tmp_path / "a.png"), LABELS)


def test_a_picture_with_a_palette_or_turned_is_read_as_a_file_is(segmenter):
    picture = Image.fromarray(image_of(LABELS))
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # show it turned back, by 90 degrees clockwise
    turned.info["exif"] = exif.tobytes()
    np.testing.assert_array_equal(segmenter(turned).labels, LABELS)
    np.testing.assert_array_equal(segmenter(picture.convert("P")).labels, LABELS)
    np.testing.assert_array_equal(segmenter(picture.convert("RGBA")).labels, LABELS)


def test_results(segmenter):
    result = segmenter(image_of(LABELS))
    logits = 0.1 * 200.0 * LABELS - 10
    red = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(result.probabilities[..., 1], red, rtol=1e-4)
    assert result.shares == {"dark": 0.5, "red": 0.5}
    assert result.confidence == pytest.approx(np.maximum(red, 1 - red).mean(), rel=1e-5)
    assert result.is_unfamiliar is None
    assert repr(result) == "<Segmentation 4x3: dark 50%, red 50%>"
    assert result.overlay(1.0)[0, 1].tolist() == [255, 0, 0]


def test_shares_leave_out_what_is_not_there(segmenter):
    result = segmenter(np.zeros((2, 2, 3), "uint8"))
    assert result.shares == {"dark": 1.0}


@pytest.mark.parametrize("size", [24, 6, 5])
def test_images_are_resized_to_what_the_network_was_trained_on(size):
    seen = []
    segmenter = Segmenter(RedModel(), CLASSES, size=size)
    predict = segmenter.predictor.probabilities
    segmenter.predictor.probabilities = lambda x: seen.append(x.shape) or predict(x)
    image = image_of(LABELS, 4)  # 12x16
    result = segmenter(image)
    assert seen == [(size, round(size / 12 * 16), 3)]
    assert result.image is image and result.labels.shape == image.shape[:2]
    assert result.probabilities.shape == (12, 16, 2)
    np.testing.assert_array_equal(result.labels, result.probabilities.argmax(-1))
    np.testing.assert_array_equal(segmenter.labels(image), result.labels)
    if size == 24:
        assert (result.labels == LABELS.repeat(4, 0).repeat(4, 1)).mean() > 0.9
    own = Segmenter(RedModel(), CLASSES, size=12)(image)
    np.testing.assert_array_equal(own.labels, LABELS.repeat(4, 0).repeat(4, 1))


def test_heads_and_crf():
    segmenter = Segmenter(RedModel(), CLASSES, heads="all", crf={"num_iterations": 1})
    result = segmenter(image_of(LABELS, 3))
    assert list(result.maps) == ["unary", "unary+crf", "final", "final+crf"]
    np.testing.assert_array_equal(result.head_labels("unary"), 1 - LABELS.repeat(3, 0).repeat(3, 1))
    np.testing.assert_array_equal(result.labels, result.head_labels("final+crf"))
    assert result.head_probabilities("unary").shape == (9, 12, 2)


def test_save(segmenter, tmp_path):
    Image.fromarray(image_of(LABELS)).save(tmp_path / "a.png")
    result = segmenter(tmp_path / "a.png")
    result.save(tmp_path / "out/labels.png")
    written = Image.open(tmp_path / "out/labels.png")
    assert written.mode == "P"
    np.testing.assert_array_equal(np.asarray(written), LABELS)
    assert written.convert("RGB").getpixel((1, 0)) == (255, 0, 0)
    result.save(tmp_path / "out/labels.png", "overlay")
    assert Image.open(tmp_path / "out/labels.png").mode == "RGB"
    for path, what, message in [
        (tmp_path / "a.png", "labels", "would overwrite the image"),
        (tmp_path / "a.jpg", "labels", "expected a name that ends in .png"),
        (tmp_path / "b.png", "everything", "`what`: expected 'labels' or 'overlay'"),
    ]:
        with pytest.raises(ValueError, match=message):
            result.save(path, what)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "out"]


def test_the_image_stays_whatever_its_path_looks_like(segmenter, tmp_path, monkeypatch):
    Image.fromarray(image_of(LABELS)).save(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.png").symlink_to("a.png")
    monkeypatch.chdir(tmp_path)
    result = segmenter("a.png")
    monkeypatch.chdir("sub")
    for path in ("../a.png", "../link.png", tmp_path / "sub/../a.png"):
        with pytest.raises(ValueError, match="would overwrite the image"):
            result.save(path)
    result.save("a.png")
    assert (tmp_path / "sub/a.png").is_file()


def test_confidences_are_those_of_the_labels():
    """Also between two classes, where the most probable class's probability is lowest."""
    maps = np.array([[[0.95, 0.05], [0.05, 0.95]]], "float32")
    result = Segmentation(np.zeros((2, 8, 3), "uint8"), {"final": maps}, CLASSES)
    found = result.head_confidences("final")
    np.testing.assert_allclose(found, result.probabilities.max(axis=-1), rtol=1e-6)
    assert found[0, 3] < 0.7 < found[0, 0]


def test_each_label_needs_a_class():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    with pytest.raises(ValueError, match="`classes`: .* each of 5 labels .*, received 2"):
        Segmenter(model, CLASSES)


def test_a_full_disk_leaves_no_half_file(segmenter, tmp_path, monkeypatch):
    from pathlib import Path

    def full(self, content):
        self.touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        segmenter(image_of(LABELS)).save(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_a_video_is_an_iterator(segmenter, tmp_path):
    from keras_dpn.io.video import VideoWriter

    big = image_of(LABELS, 16)  # codecs blur edges
    with VideoWriter(tmp_path / "a.mp4", 10, big.shape[:2]) as writer:
        for _ in range(3):
            writer.write(big)
    found = segmenter(tmp_path / "a.mp4")
    assert iter(found) is found
    results = list(found)
    assert len(results) == 3
    assert all((r.labels == LABELS.repeat(16, 0).repeat(16, 1)).mean() > 0.97 for r in results)
    frames = (image_of(LABELS) for _ in range(2))
    assert [r.labels.tolist() for r in segmenter.video(frames)] == 2 * [LABELS.tolist()]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("linking", ["flow", "static"])
def test_a_network_for_clips_sees_neighbouring_frames(linking):
    settings = {"width": 0.03, "backbone": BACKBONE, "local_conv": {"window": 3}}
    model = SpatialTemporalDPN(2, linking=linking, pairwise="triple", **settings)
    segmenter = Segmenter(model, CLASSES, size=32)
    frames = [image_of(np.roll(LABELS, i, axis=1), 8) for i in range(3)]  # 24x32
    results = list(segmenter.video(frames))
    assert [r.labels.shape for r in results] == 3 * [(24, 32)]
    assert [r.maps["final"].shape for r in results] == 3 * [(32, 43, 2)]
    with pytest.raises(ValueError, match="The network is for clips: use `video`"):
        segmenter(frames[0])


def test_frames_may_be_pictures(segmenter):
    frames = [image_of(LABELS), Image.fromarray(image_of(1 - LABELS))]
    found = [(result.labels, result.image.shape) for result in segmenter.video(frames)]
    np.testing.assert_array_equal([labels for labels, _ in found], [LABELS, 1 - LABELS])
    assert [shape for _, shape in found] == 2 * [(3, 4, 3)]


def test_unfamiliar_images_are_told():
    segmenter = Segmenter(RedModel(), CLASSES, lowest_confidence=0.9)
    assert segmenter(image_of(LABELS)).is_unfamiliar is False
    grey = np.full((4, 4, 3), 100, "uint8")  # logit 0
    assert segmenter(grey).is_unfamiliar is True


def test_sources_that_are_none_are_refused(segmenter, tmp_path):
    with pytest.raises(ValueError, match="a.png: no such file"):
        segmenter(tmp_path / "a.png")
    with pytest.raises(TypeError, match="`source`: expected a path, an array .*received int"):
        segmenter(3)
    with pytest.raises(ValueError, match=r"`image`.*received shape \(4, 4\)"):
        segmenter(np.zeros((4, 4), "uint8"))
    with pytest.raises(ValueError, match="`size`: expected pixels from 1 up, received 0"):
        Segmenter(RedModel(), CLASSES, size=0)


def test_pixels_are_limited(tmp_path):
    settings = InferenceSettings(max_pixels=100_000)
    segmenter = Segmenter(RedModel(), CLASSES, settings)
    Image.new("L", (400, 300)).save(tmp_path / "large.png")
    Image.new("L", (1, 2000)).save(tmp_path / "narrow.png")
    for name in ("large", "narrow"):
        with pytest.raises(
            ValueError, match=f"{name}.png: .* pixels are too many; at most 0.1 mil"
        ):
            segmenter(tmp_path / f"{name}.png")
        image = Image.open(tmp_path / f"{name}.png")
        for source in (image, np.asarray(image.convert("RGB"))):
            for call in (segmenter.image, segmenter.labels):
                with pytest.raises(ValueError, match="pixels are too many"):
                    call(source)
    for call in (segmenter.predictor.probabilities, segmenter.predictor.labels):
        with pytest.raises(ValueError, match="`image`: 1 x 2000 pixels are too many"):
            call(np.zeros((2000, 1, 3), "uint8"))
    with pytest.raises(ValueError, match="`image`: 1 x 2000 pixels are too many"):
        next(segmenter.video([np.zeros((2000, 1, 3), "uint8")]))
    with VideoWriter(video := tmp_path / "a.mp4", 5.0, (300, 400)) as writer:
        writer.write(np.zeros((300, 400, 3), "uint8"))
    with pytest.raises(ValueError, match="a.mp4: frames of 400 x 300 pixels are too large"):
        next(segmenter(video))
    larger = Segmenter(RedModel(), CLASSES, InferenceSettings(max_pixels=130_000))
    assert larger(tmp_path / "narrow.png").labels.shape == (2000, 1)


def test_a_narrow_image_is_not_resized_beyond_the_limit():
    """467 bytes of a single row, whose shorter side the preset would make 96 pixels long."""
    segmenter = Segmenter(RedModel(), CLASSES, size=96)
    with pytest.raises(
        ValueError, match="resized to a shorter side of 96, 9600000 x 96 pixels are"
    ):
        segmenter(np.zeros((1, 100_000, 3), "uint8"))


def test_from_a_preset_a_directory_and_a_run(tmp_path):
    keras.utils.set_random_seed(0)
    settings = {"backbone": BACKBONE, "local_conv": {"window": 3}, "pairwise_stride": 4}
    model = DPN(2, width=0.03, **settings)
    card = keras_dpn.presets.Card(size=16, lowest_confidence=0.99, description="Mine")
    model.save_to_preset(tmp_path / "preset", classes=CLASSES, card=card)
    (tmp_path / "run").mkdir()
    model.save(tmp_path / "run/model.keras")
    (tmp_path / "run/classes.json").write_text((tmp_path / "preset/classes.json").read_text())
    image = image_of(LABELS, 8)
    own = Segmenter.from_preset(tmp_path / "run")
    preset = Segmenter.from_preset(tmp_path / "preset")
    assert (own.size, preset.size) == (None, 16)
    assert preset.description == "Mine" and preset.classes == CLASSES
    assert preset(image).maps["final"].shape == (16, 21, 2)
    whole = Segmenter.from_preset(tmp_path / "preset", size=None)
    np.testing.assert_array_equal(own(image).probabilities, whole(image).probabilities)
    both = Segmenter.from_preset([tmp_path / "run", tmp_path / "preset"], size=None)
    np.testing.assert_allclose(both(image).probabilities, own(image).probabilities, atol=1e-6)
    half = Segmenter.from_preset(tmp_path / "preset", precision="mixed_bfloat16")
    assert half.predictor.models[0].get_layer("b1_conv1").compute_dtype == "bfloat16"


def test_settings_reach_the_predictor():
    segmenter = Segmenter.from_preset("dpn_scenes", scales=[0.5, 1.0], horizontal_flip=True)
    settings = segmenter.predictor.settings
    assert settings.scales == (0.5, 1.0) and settings.horizontal_flip
    assert settings.tile >= 512  # from the memory
    assert Segmenter.from_preset("dpn_scenes", tile=640).predictor.settings.tile == 640
    assert Segmenter.from_preset("dpn_scenes", max_pixels=9).max_pixels == 9
    assert Segmenter.from_preset("dpn_scenes", memory_gib=None).predictor.settings.tile is None


def test_large_images_are_labelled_as_by_their_probabilities():
    maps = {"final": np.random.default_rng(0).dirichlet(np.ones(3), (5, 7)).astype("float32")}
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    result = Segmentation(np.zeros((50, 70, 3), "uint8"), maps, classes)
    np.testing.assert_array_equal(result.labels, result.probabilities.argmax(-1))
    assert result.labels.dtype == np.uint8
    same = Segmentation(np.zeros((5, 7, 3), "uint8"), maps, classes)
    np.testing.assert_array_equal(same.labels, maps["final"].argmax(-1))


def test_tiles_agree_with_the_whole_image():
    image = image_of(np.random.default_rng(0).integers(0, 2, (5, 40)), 20)  # 100x800
    tiled = Segmenter(RedModel(), CLASSES, InferenceSettings(tile=64, overlap=32))
    np.testing.assert_array_equal(tiled(image).labels, Segmenter(RedModel(), CLASSES)(image).labels)
