import base64
import json
import os
import re
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_dpn import models
from keras_dpn.classes import Classes
from keras_dpn.export import export
from keras_dpn.inference import Predictor
from keras_dpn.io.flow import dis_flow
from keras_dpn.io.video import VideoReader, VideoWriter
from keras_dpn.io.video_stream import VideoStream
from keras_dpn.limits import fits
from keras_dpn.segmenter import Segmenter
from tests.keras_dpn.support import tiny_backbone
from training.data.generated.scenes import CLASSES, ScenesDataset
from training.demo import app as demo
from training.demo import inference
from training.demo.inference import FilePredictor
from training.demo.served_model import Prediction, open_model

COMMITTED = Path(__file__).parents[3] / "saved_models" / "scenes"
MEGABYTES = 0.5
# Header of a BMP of 8000 x 8000 pixels.
HUGE = b"BM" + bytes(8) + b"6\0\0\0(\0\0\0" + b"\x40\x1f\0\0" * 2 + b"\1\0\x18\0"


@pytest.fixture(scope="module")
def model():
    """The model that the repository has."""
    return open_model(str(COMMITTED))


@pytest.fixture(scope="module")
def scenes():
    return ScenesDataset({"demo": 2})


class FakeModel:
    """One head, no confidences: all is grass where the image is bright."""

    classes, heads, max_pixels, description = CLASSES, ("final",), 10**6, ""

    def __call__(self, image):
        return Prediction((image[None, ..., 0] > 127).astype("uint8"), None)

    def video(self, frames):
        return map(self, frames)


def test_the_committed_model_labels_scenes(model):
    assert sum(f.stat().st_size for f in COMMITTED.rglob("*") if f.is_file()) < 5e6
    assert (model.classes, model.heads) == (CLASSES, ("unary", "triple", "contexts", "final"))
    dataset = ScenesDataset({"test": 3}, seed=7)
    right = []
    for example in dataset.splits["test"]:
        image, labels = dataset.read(example)
        found = model(image)
        assert found.labels.shape == found.confidences.shape == (4, *labels.shape)
        right.append(found.labels == labels)
        # It is surer where it is right.
        assert found.confidences[-1][right[-1][-1]].mean() > 90
        assert found.confidences[-1][~right[-1][-1]].mean() < 80
    unary, _, _, final = np.mean(right, axis=(0, 2, 3))
    assert final > 0.95 and final > unary


@pytest.mark.parametrize(
    ("linking", "output_frames", "outputs"),
    [("static", "center", ("labels", "probabilities")), ("flow", "all", ("stages",))],
)
def test_a_network_for_clips_sees_neighbouring_frames(linking, output_frames, outputs, tmp_path):
    network = models.SpatialTemporalDPN(
        num_classes=3,
        linking=linking,
        output_frames=output_frames,
        width=0.05,
        backbone=tiny_backbone((2, 2, 2)),
        local_conv={"window": 3, "scale": 5.0},
        contexts={"window": 3, "mixtures": 1},
    )
    colors = [[0, 0, 0], [0, 128, 0], [0, 0, 128]]
    classes = {"names": ["a", "b", "c"], "colors": colors, "ignore": 255}
    export(network, tmp_path, classes=classes, outputs=outputs, warmup=None)
    model = open_model(str(tmp_path))
    video = np.random.default_rng(0).integers(0, 256, (4, 32, 40, 3), "uint8")
    predictions = [*model.video(iter(video))]
    expected = Predictor(network).video(video, dis_flow if linking == "flow" else None)
    for prediction, maps in zip(predictions, expected, strict=True):
        probabilities = maps["final"]
        assert (prediction.labels[-1] == probabilities.argmax(axis=-1)).mean() > 0.999
        percent = 100 * probabilities.max(axis=-1)
        assert np.abs(prediction.confidences[-1] - percent).max() <= 0.51
        assert prediction.labels.shape == (len(model.heads), 32, 40)
    one_by_one = [model(frame).confidences for frame in video]
    assert (np.stack([prediction.confidences for prediction in predictions]) != one_by_one).any()


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return FilePredictor(FakeModel(), tmp_path_factory.mktemp("videos"), max_pixels=5000)


def no_progress(done, text):
    pass


def decoded(value):
    content = zlib.decompress(base64.b64decode(value["maps"][0]))
    return np.frombuffer(content, "uint8").reshape(value["height"], value["width"])


def test_a_large_image_is_downsampled(predictor, tmp_path):
    pixels = np.zeros((100, 200, 3), "uint8")
    pixels[:, 100:] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    value = predictor.predict(tmp_path / "wide.png", no_progress).value
    assert value["note"] == "Downsampled from 200 x 100 to 100 x 50 pixels."
    assert (decoded(value) == (np.arange(100) >= 50)).all()
    assert value["name"] == "wide"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"no image", "a.png: can't be read as an image"),
        ("a.mp4", b"no video", "a.mp4: can't be read as a video"),
        ("a.bmp", HUGE, "8000 x 8000 pixels are too many"),
    ],
    ids=["image", "video", "huge"],
)
def test_bad_files_are_messages(predictor, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content + bytes(40))
    value = predictor.predict(tmp_path / name, no_progress).value
    assert list(value) == ["message"] and words in value["message"]
    assert str(tmp_path) not in value["message"]


def test_videos_of_other_visitors_are_kept_apart(predictor):
    for video in ("..", "unknown", ""):
        assert "message" in predictor.read_frame({"video": video, "index": 0})


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="expected a preset .* or a finished training run"):
        open_model(str(tmp_path))
    (tmp_path / "saved_model.pb").touch()
    (tmp_path / "model.json").write_text(json.dumps({"classes": None, "max_pixels": 1}))
    with pytest.raises(ValueError, match="model.json: names no classes"):
        open_model(str(tmp_path))


@pytest.mark.parametrize("kind", ["preset", "run"])
def test_a_preset_and_a_run_are_labelled_at_each_head(kind, finished_run, scenes):
    model = open_model("dpn_scenes" if kind == "preset" else str(finished_run))
    image, _ = scenes.read(scenes.splits["demo"][0])
    found = model(image)
    assert model.heads == ("unary", "triple", "contexts", "final") and model.classes == CLASSES
    source = "dpn_scenes" if kind == "preset" else finished_run
    result = Segmenter.from_preset(source, heads="all")(image)
    for i, head in enumerate(model.heads):
        np.testing.assert_array_equal(found.labels[i], result.maps[head].argmax(-1))
        percent = 100 * result.maps[head].max(-1)
        assert np.abs(found.confidences[i] - percent).max() <= 0.51
    assert ("Generated scenes" in model.description) == (kind == "preset")
    [frame] = model.video([image])
    np.testing.assert_array_equal(frame.labels, found.labels)


def test_unfamiliar_images_are_noted(tmp_path, scenes):
    predictor = FilePredictor(open_model("dpn_scenes"), tmp_path / "videos", max_pixels=50_000)
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), "uint8")
    notes = []
    for image in (noise, scenes.read(scenes.splits["demo"][0])[0]):
        Image.fromarray(image).save(tmp_path / "a.png")
        notes.append(predictor.predict(tmp_path / "a.png", no_progress).value["note"])
    assert notes[0].startswith("This image is unlike the training images")
    assert notes[1] == ""


def test_examples_are_named_where_there_are_some(predictor, tmp_path):
    uploads = demo.Uploads(tmp_path)
    page = demo.make_page(predictor, [], "street", uploads)
    hints = [
        str(block.html_template) for block in page.blocks.values() if block.elem_id == "viewer"
    ]
    assert len(hints) == 1
    assert "Drop an image or a short video.</p>" in hints[0]


@pytest.mark.parametrize("wrong", [{"port": 70000}, {"max_megabytes": 0}, {"max_pixels": 0}])
def test_options_out_of_range_are_named(wrong):
    option = next(iter(wrong)).replace("_", "-")
    serving = demo.serving(str(COMMITTED), **wrong)
    with pytest.raises(ValueError, match=f"--{option}: expected"), serving:
        pass


def post(address, data):
    """Send a file's path, as a visitor's program may, and return what the page answers."""
    values = {"fn_index": 0, "data": [data], "session_hash": "visitor", "event_data": None}
    request = urllib.request.Request(
        f"{address}gradio_api/queue/join",
        json.dumps(values).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=30).close()
        queue = f"{address}gradio_api/queue/data?session_hash=visitor"
        with urllib.request.urlopen(queue, timeout=30) as answers:
            for line in answers:
                if b"process_completed" in line:
                    return line.decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    raise AssertionError("no answer")


def test_a_visitor_removes_and_labels_no_file_of_the_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "open_model", lambda *_: FakeModel())
    (folder := tmp_path / "examples").mkdir()
    Image.new("RGB", (8, 8)).save(photo := folder / "photo.png")
    Image.new("RGB", (8, 8)).save(other := tmp_path / "other.png")
    with demo.serving(str(COMMITTED), examples=folder) as address:
        shown = Path(os.environ["GRADIO_TEMP_DIR"]).parent / "shown"
        shown.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(shown / "frame.png")
        for path in (photo, other, shown / "frame.png", folder):
            data = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
            assert '"maps"' not in post(address, data)
            assert path.exists()
        with urllib.request.urlopen(f"{address}config", timeout=30) as response:
            config = response.read().decode()
        assert "photo" in config and str(tmp_path) not in config  # the title, without its path
        for path in (photo, other, "/etc/hosts"):
            with pytest.raises(urllib.error.HTTPError, match="40[34]"):
                urllib.request.urlopen(f"{address}gradio_api/file={path}", timeout=30)
        request = urllib.request.Request(f"{address}config", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=30)
        # What a page of another site can send without asking first: text and forms.
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            request = urllib.request.Request(
                f"{address}gradio_api/queue/join",
                json.dumps({"data": [None], "fn_index": 0, "session_hash": "x"}).encode(),
                {"Content-Type": kind, "Origin": "http://evil.example"},
            )
            with pytest.raises(urllib.error.HTTPError, match="422"):
                urllib.request.urlopen(request, timeout=30)
    assert photo.is_file() and other.is_file()


def test_uploads_and_the_queue_are_limited(monkeypatch):
    model = FakeModel()
    model.classes = Classes(("</script><img src=x onerror=y>", "b"), ((0, 0, 0), (9, 9, 9)))
    monkeypatch.setattr(demo, "open_model", lambda *_: model)
    pages = []
    make_page = demo.make_page
    monkeypatch.setattr(demo, "make_page", lambda *a: pages.append(make_page(*a)) or pages[0])
    with demo.serving(str(COMMITTED), max_megabytes=0.1) as address:
        assert pages[0]._queue.max_size == demo.MAX_QUEUE
        with urllib.request.urlopen(address, timeout=30) as response:
            assert "<img src=x" not in response.read().decode()  # a class's name is text
        request = urllib.request.Request(
            f"{address}gradio_api/upload", bytes(2**20), {"Content-Type": "multipart/form-data"}
        )
        with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)) as e:
            urllib.request.urlopen(request, timeout=30)
        assert getattr(e.value, "code", 413) == 413
        assert not [*Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*.png")]


@pytest.mark.parametrize("index", [None, "x", 1e400, [], 99, -1])
def test_a_frame_that_does_not_exist_is_a_message(tmp_path, index):
    predictor = FilePredictor(FakeModel(), tmp_path, max_pixels=5000)
    folder = predictor._new_folder()
    assert list(predictor.read_frame({"video": folder.name, "index": index})) == ["message"]
    assert list(predictor.read_frame({})) == ["message"]


@pytest.mark.parametrize(
    ("size", "frames", "fps", "words"),
    [
        ((64, 48), 3, 0.1, "30 seconds are too many; at most 20 are allowed"),
        ((160, 96), 3, 10, "frames of 160 x 96 pixels are too large"),
    ],
    ids=["long", "large"],
)
def test_videos_are_limited_before_a_frame_is_decoded(
    predictor, tmp_path, monkeypatch, size, frames, fps, words
):
    monkeypatch.setattr(inference, "MAX_DECODED_FRAME_PIXELS", 10_000)
    monkeypatch.setattr(inference, "MAX_VIDEO_SECONDS", 20)
    with VideoWriter(tmp_path / "a.mp4", fps, size[::-1]) as writer:
        for _ in range(frames):
            writer.write(np.zeros((*size[::-1], 3), "uint8"))
    monkeypatch.setattr(VideoStream, "decode", None)
    value = predictor.predict(tmp_path / "a.mp4", no_progress).value
    assert words in value["message"]


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1), (20_000, 16)])
def test_the_length_of_a_narrow_image_is_limited(size):
    height, width = inference.downsampled_size(size, 10**6)
    assert max(height, width) <= inference.MAX_SIDE and min(height, width) >= 1
    assert fits(*inference.downsampled_size(size, 10**5), 10**5)  # of the served model


@pytest.fixture(scope="module")
def address():
    """Where the demo of the committed model listens."""
    with demo.serving(str(COMMITTED), max_megabytes=MEGABYTES, max_pixels=20_000) as address:
        yield address


@pytest.fixture
def page(browser, address):
    """The page in a browser, which complains about nothing and requests nothing else."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    assert page.locator("#viewer .hint").inner_text().endswith("video, or pick an example.")
    yield page
    assert not complaints
    assert not [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    page.close()


def pick(page, number):
    """Clicks on an example and waits for its labels."""
    page.locator("#examples button.thumbnail-item").nth(number).click()
    page.locator("#viewer [data-state=prediction]").wait_for()


def tip(page):
    return page.locator("#viewer .tip").inner_text().strip()


def drag(page, slider, value):
    page.locator(f"#viewer {slider} input").fill(str(value))


def downloaded(page):
    with page.expect_download() as event:
        page.locator("#viewer .download").click()
    return event.value.suggested_filename, Image.open(event.value.path())


def test_an_example(page, model, scenes):
    assert "It has 11 classes: sky, grass, house" in page.locator("body").inner_text()
    pick(page, 1)
    image, _ = scenes.read(scenes.splits["demo"][1])
    found = model(image)
    canvas = page.locator("#viewer canvas")
    box = canvas.bounding_box()
    assert box["width"] > 400 and box["width"] / box["height"] == pytest.approx(4 / 3, 0.01)
    # Where the heads differ, so that the slider is seen to act.
    y, x = np.argwhere(found.labels[0] != found.labels[-1])[0]
    there = {"x": (x + 0.5) / 128 * box["width"], "y": (y + 0.5) / 96 * box["height"]}
    for head in (3, 0):
        canvas.hover(position=there)
        drag(page, ".heads", head)
        label = CLASSES.names[found.labels[head, y, x]]
        assert tip(page) == f"{label} {found.confidences[head, y, x]}%"
        fractions = page.locator("#viewer .legend button").all_inner_texts()
        fraction = np.mean(found.labels[head] == 0)
        assert re.sub(r"\s+", " ", fractions[0]) == f"sky {100 * fraction:.1f}%"
        name, png = downloaded(page)
        assert name == f"scene_2_{model.heads[head]}.png" and png.mode == "P"
        np.testing.assert_array_equal(png, found.labels[head])
        shown = page.evaluate(
            "([x, y]) => [...document.querySelector('#viewer canvas').getContext('2d')"
            ".getImageData(x, y, 1, 1).data]",
            [int(x), int(y)],
        )
        assert shown == [*CLASSES.colors[found.labels[head, y, x]], 255]
    canvas.hover(position=there)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    at = f"at x {min(x + 1, 127)}, y {min(y + 10, 95)}"
    assert at in page.locator("#viewer .readout").inner_text()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_files(page, tmp_path, scenes):
    (text := tmp_path / "text.png").write_text("not an image")
    page.locator("#drop input").set_input_files(text)
    said = page.locator("#viewer .message")
    said.wait_for()
    assert said.inner_text().startswith("text.png: can't be read as an image")
    image, _ = scenes.read(scenes.splits["demo"][0])
    Image.fromarray(image).resize((256, 192)).save(photo := tmp_path / "photo.jpg")
    page.locator("#drop input").set_input_files(photo)
    page.locator("#viewer [data-state=prediction]").wait_for()
    assert page.locator("#viewer .note").inner_text().startswith("Downsampled from 256 x 192")


def test_a_file_that_is_too_large(browser, address, tmp_path):
    """Its own page: the browser logs the refusal."""
    (large := tmp_path / "large.png").write_bytes(bytes(round(2**20 * MEGABYTES) + 1))
    page = browser.new_page()
    page.goto(address)
    page.locator("#drop input").set_input_files(large)
    page.get_by_text("exceed the maximum allowed size of 512.0 Kb").first.wait_for()
    page.close()


def test_a_video(page, model, tmp_path):
    pick(page, -1)
    video = page.locator("#video video")
    video.wait_for()
    frames = page.locator("#viewer .frames output")
    assert frames.inner_text() == "1 of 12"
    first = page.locator("#viewer img").get_attribute("src")
    drag(page, ".frames", 11)
    page.wait_for_function(
        "src => document.querySelector('#viewer img').getAttribute('src') !== src", arg=first
    )
    assert frames.inner_text() == "12 of 12"
    name, png = downloaded(page)
    assert name == "video_000011_final.png" and png.size == (128, 96)
    (path := tmp_path / "video.mp4").write_bytes(
        page.request.get(video.evaluate("v => v.src")).body()
    )
    assert len([*VideoReader(path)]) == 12


def test_a_model_without_heads(browser, monkeypatch):
    monkeypatch.setattr(demo, "open_model", lambda *_: FakeModel())
    page = browser.new_page()
    with demo.serving(str(COMMITTED)) as address:
        folder = Path(os.environ["GRADIO_TEMP_DIR"]).parent
        assert folder.is_dir()
        page.goto(address)
        pick(page, 0)
        assert not page.locator("#viewer .heads").is_visible()
        page.locator("#viewer canvas").hover(position={"x": 9, "y": 9})
        assert tip(page) in ("sky", "grass")
        page.close()
    assert not folder.exists()
