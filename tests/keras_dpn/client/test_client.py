"""Against a local server that speaks TensorFlow Serving's protocols: see tests/serving_peer.py."""

import contextlib
import io
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import typing

import keras
import numpy as np
import pytest
from PIL import Image

import keras_dpn.client
from keras_dpn.client import Client, Prediction, ServingError, client, inputs, video
from keras_dpn.client.rest import _error_of
from keras_dpn.export import export
from keras_dpn.io.images import read_image, to_rgb
from keras_dpn.ops.warp import INVALID_FLOW

tf = pytest.importorskip("tensorflow")  # which the next imports need

from tests.keras_dpn.export.test_saved_model import (  # noqa: E402
    CLASSES,
    COLORS,
    encoded,
    pictures,
    small_model,
)
from tests.keras_dpn.io import zoo  # noqa: E402
from tests.serving_peer import ServingPeer  # noqa: E402

pytestmark = pytest.mark.tensorflow_only
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
    "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
)
ALL = ("labels", "probabilities", "overlay", "label_png", "classes")
PROTOCOLS = ("rest", "grpc")


class Reds(tf.Module):
    """A model that takes the red for its labels; a network's graph takes seconds."""

    frames = tf.TensorSpec((None, None, None, None, 3), "uint8", "frames")
    flows = [
        tf.TensorSpec((None, None, None, None, 2), "float32", name)
        for name in ("forward_flow", "backward_flow")
    ]

    @tf.function(input_signature=[tf.TensorSpec((None,), "string", "image_bytes")])
    def serve(self, image_bytes):
        image = tf.io.decode_png(image_bytes[0], 3)
        return {"labels": image[None, ..., 0], "sizes": tf.shape(image)[None, :2]}

    @tf.function(input_signature=[frames])
    def clip(self, frames):
        """The labels of all frames, and after the first of two stages the greens."""
        stages = tf.stack([frames[..., 1], frames[..., 0]], axis=1)
        stages = {"stage_labels": stages, "stage_confidences": stages // 3}
        return {"labels": frames[..., 0], **stages}

    @tf.function(input_signature=[frames, *flows])
    def clip_with_flow(self, frames, forward_flow, backward_flow):
        """Of the middle frame: 10 times the flow to the next one, and that to the one before."""
        middle = tf.shape(frames)[1] // 2
        ahead, back = forward_flow[:, middle, ..., 0], backward_flow[:, middle - 1, ..., 0]
        return {"labels": tf.cast(10 * tf.minimum(ahead, 9) + tf.minimum(back, 9), "uint8")}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory, model = tmp_path_factory.mktemp("saved"), Reds()
    signatures = {"serving_default": model.serve, "clip": model.clip}
    signatures["clip_with_flow"] = model.clip_with_flow
    for version in ("1", "2"):
        tf.saved_model.save(model, directory / version, signatures)
    with ServingPeer(directory, "street", labels={"old": 1}) as found:
        yield found


@pytest.fixture
def peer(server):
    server.faults.clear()
    server.requests = server.busiest = 0
    return server


@pytest.fixture
def waits(monkeypatch):
    """The seconds that a client waits between attempts; it doesn't."""
    found = []
    monkeypatch.setattr(client.time, "sleep", found.append)
    return found


def probabilities(model, image):
    return keras.ops.convert_to_numpy(keras.ops.softmax(model(image[None])))[0]


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))


# One test: between tests Keras makes TensorFlow forget the graph that it has optimised.
def test_answers_are_the_models(tmp_path):
    model = small_model()
    export(model, tmp_path / "street", classes=CLASSES, outputs=ALL, max_pixels=2000, warmup=None)
    with ServingPeer(tmp_path / "street", "street") as peer:
        for address in (peer.rest, peer.grpc):
            check_answers(model, address, tmp_path)
            check_refusal(address, tmp_path)


def check_answers(model, address, tmp_path):
    image = pictures(17, 11)
    expected = probabilities(model, image)
    labels = expected.argmax(-1)
    path = tmp_path / "street.png"
    path.write_bytes(encoded(image))
    with Client(address, "street", outputs=ALL) as asked:
        for picture in (path, str(path), path.read_bytes(), np.asfortranarray(image)):
            answer = asked.predict(picture)
            assert answer.labels.dtype == np.uint8 and answer.probabilities.dtype == np.float32
            np.testing.assert_array_equal(answer.labels, labels)
            np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
            np.testing.assert_array_equal(decoded(answer.label_png), labels)
            mixed = np.rint((image.astype("float32") + np.array(COLORS)[labels]) / 2)
            np.testing.assert_array_equal(decoded(answer.overlay), mixed)
            assert answer.class_names == tuple(CLASSES["names"])
            np.testing.assert_array_equal(answer.class_colors, COLORS)
    with Client(address, "street") as asked:
        answer = asked.predict(image)
        np.testing.assert_array_equal(answer.labels, labels)
        assert answer.probabilities is answer.overlay is answer.class_names is None


def check_refusal(address, tmp_path):
    (path := tmp_path / "large.png").write_bytes(encoded(pictures(50, 41)))
    with Client(address, "street") as served, pytest.raises(ServingError) as error:
        served.predict(path)
    message = str(error.value)
    assert message.startswith(f"{path}: INVALID_ARGUMENT: ")
    assert message.endswith("[expected an image of 1 to 2000 pixels, received one of 41 x 50]")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_come_in_order_a_few_at_a_time(peer, protocol, tmp_path):
    images = [pictures(5 + n, 20 - n) for n in range(12)]
    asked = [*images, b"junk", tmp_path / "missing.jpg", images[0].astype("float32"), images[1]]
    peer.faults = [0.3, "UNAVAILABLE"]
    with Client(getattr(peer, protocol), "street") as served:
        *found, junk, missing, wrong, last = served.predict_many(iter(asked), parallel=3)
    for image, answer in zip([*images, images[1]], [*found, last], strict=True):
        np.testing.assert_array_equal(answer.labels, image[..., 0])
    assert isinstance(junk, ServingError) and junk.status == "INVALID_ARGUMENT"
    assert isinstance(missing, FileNotFoundError) and isinstance(wrong, ValueError)
    assert 1 < peer.busiest <= 3


def test_who_wants_no_more_answers_gets_none(peer):
    with Client(peer.grpc, "street") as served:
        answers = served.predict_many((pictures(5, 5) for _ in range(1000)), parallel=2)
        next(answers)
        answers.close()
    assert peer.requests <= 8


def test_predictions_come_before_the_error_of_the_iterable(peer):
    def fail(frames):
        yield from frames
        raise RuntimeError("camera lost")

    frames, found = [*pictures(6, 4, 5)], []
    with Client(peer.grpc, "street") as served:
        with pytest.raises(RuntimeError, match="camera lost"):
            found.extend(answer.labels for answer in served.predict_many(fail(frames)))
        np.testing.assert_array_equal(found, [frame[..., 0] for frame in frames])
        with pytest.raises(ValueError, match="`frames`: expected a frame of shape"):
            found.extend(x.labels for x in served.predict_video([*frames, frames[0][1:]]))
        np.testing.assert_array_equal(found[6:], found[:5])  # the next frame of the last is wrong


def test_predictions_of_a_live_stream_come_early(monkeypatch):
    read = []

    def live():
        for number in range(20):
            read.append(number)
            yield number
            time.sleep(0.02)

    with Client("http://localhost:1", "street") as served:
        monkeypatch.setattr(served, "predict", lambda number: number)
        answers = served.predict_many(live(), parallel=4)
        assert next(answers) == 0 and len(read) < 8
        assert [*answers] == [*range(1, 20)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_without_time_limits(peer, protocol):
    unlimited = {"timeout": float("inf"), "deadline": float("inf")}
    with Client(getattr(peer, protocol), "street", **unlimited) as served:
        assert served.predict(pictures(4, 5)).labels.shape == (4, 5)


def test_a_closed_client_says_so(peer):
    served = Client(peer.grpc, "street")
    served.close()
    with pytest.raises(ServingError, match="CANCELLED: .*the client is closed; create another"):
        served.predict(pictures(4, 5))


def test_pillow_images_are_sent_as_their_files_are_read(tmp_path):
    rgb = Image.fromarray(pictures(4, 6))
    rgb.save(path := tmp_path / "turned.png", exif=zoo.exif(6))
    with Image.open(path) as image:
        np.testing.assert_array_equal(decoded(inputs.encoded(image)[1]), read_image(path))
    for mode in ("L", "LA", "P", "CMYK", "YCbCr"):
        image = rgb.convert(mode)
        np.testing.assert_array_equal(decoded(inputs.encoded(image)[1]), to_rgb(image, "it"))
    with pytest.raises(ValueError, match="the image: an image of floats"):
        inputs.encoded(Image.new("F", (4, 4)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_may_pass_is_tried_again(peer, protocol, waits):
    with Client(getattr(peer, protocol), "street", attempts=4) as served:
        peer.faults = ["UNAVAILABLE"] * 3
        assert served.predict(pictures(4, 5)).labels.shape == (4, 5)
        assert peer.requests == 4
        for wait, longest in zip(waits, (0.1, 0.2, 0.4), strict=True):
            assert longest / 2 <= wait <= longest
        peer.faults = ["UNAVAILABLE"] * 4
        with pytest.raises(ServingError, match=r"^an array .*: UNAVAILABLE \(4 attempts\): ") as e:
            served.predict(pictures(4, 5))
        assert e.value.status == "UNAVAILABLE" and not peer.faults


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_refused_is_not_tried_again(peer, protocol):
    with Client(getattr(peer, protocol), "street") as served:
        with pytest.raises(ServingError, match="^an image of 4 bytes: INVALID_ARGUMENT: ") as error:
            served.predict(b"junk")
        assert peer.requests == 1 and error.value.status == "INVALID_ARGUMENT"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slow_server_meets_the_deadline(peer, protocol):
    address = getattr(peer, protocol)
    with Client(address, "street", timeout=0.4, deadline=20) as served:
        peer.faults = [0.6]
        assert served.predict(pictures(4, 5)).labels.shape == (4, 5)
        assert peer.requests >= 2
    with Client(address, "street", deadline=0.1) as served:
        peer.faults = [0.3]
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED: ") as error:
            served.predict(pictures(4, 5))
        assert error.value.status == "DEADLINE_EXCEEDED"


def test_a_file_alone_comes_from_its_own_signature(tmp_path):
    """REST returns all outputs of a signature."""
    image = pictures(5, 7)
    export(small_model(), tmp_path / "street", outputs=ALL, classes=CLASSES, warmup=None)
    with ServingPeer(tmp_path / "street", "street") as peer:
        asked = []
        run = peer.predict
        peer.predict = lambda *args, **more: asked.append(args[2]) or run(*args, **more)
        with Client(peer.rest, "street", outputs=["labels", "label_png"]) as client:
            whole = client.predict(image)
        for output in ("label_png", "overlay"):
            with Client(peer.rest, "street", outputs=[output]) as client:
                alone = client.predict(image)
            assert alone.labels is None
        assert asked == ["serving_default", "label_png", "overlay"]
        with Client(peer.grpc, "street", outputs=["overlay"]) as client:
            assert client.predict(image).overlay == alone.overlay
        with Client(peer.rest, "street", outputs=["label_png"]) as client:
            png = client.predict(image).label_png
        assert png == whole.label_png
        np.testing.assert_array_equal(Image.open(io.BytesIO(png)), whole.labels)


WITHOUT_PILLOW = """
import sys
sys.modules["PIL"] = None
from keras_dpn.client.inputs import encoded
for name in sys.argv[1:]:
    try:
        print(encoded(name)[1] == open(name, "rb").read())
    except ValueError as error:
        print(error)
"""


def test_without_pillow_the_client_says_what_it_cannot_convert(tmp_path):
    names = [tmp_path / name for name in ("a.bmp", "a.png", "a.webp", "a.txt")]
    for path in names[:3]:
        Image.new("RGB", (4, 4)).save(path)
    names[3].write_text("left to the server")
    command = [sys.executable, "-c", WITHOUT_PILLOW, *map(str, names)]
    done = subprocess.run(command, capture_output=True, text=True)
    *sent, webp, text = done.stdout.splitlines()
    assert sent == ["True", "True"] and text == "True", done.stderr
    assert "a.webp: a server takes JPEG, PNG, GIF, received WebP. Install Pillow" in webp


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_clips(peer, protocol):
    address, frames = getattr(peer, protocol), pictures(3, 4, 5)
    with Client(address, "street", outputs=["labels", "overlay", "stages"]) as asked:
        answer = asked.predict_clip(frames)
        np.testing.assert_array_equal(answer.labels, frames[..., 0])
        np.testing.assert_array_equal(answer.stage_labels[0], frames[..., 1])
        np.testing.assert_array_equal(answer.stage_confidences, answer.stage_labels // 3)
        assert answer.labels.dtype == answer.stage_labels.dtype == np.uint8
        assert answer.overlay is None
        middle = list(asked.predict_video(frames))[1]
        np.testing.assert_array_equal(middle.stage_labels, answer.stage_labels[:, 1])
    with Client(address, "street") as asked:
        flows = np.full((2, 4, 5, 2), 3.0), np.full((2, 4, 5, 2), 1)
        assert (asked.predict_clip(frames, *flows).labels == 31).all()
    with (
        Client(address, "street", outputs=["overlay"]) as asked,
        pytest.raises(ValueError, match="`outputs`: expected one of .* for clips"),
    ):
        asked.predict_clip(frames)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_video_is_a_stream_of_labels(peer, protocol):
    frames = [np.full((4, 5, 3), n, "uint8") for n in range(6)]

    def flow(first, second):
        """As the frames' numbers tell: 1 ahead, 2 back."""
        return np.full((4, 5, 2), 1 if second[0, 0, 0] > first[0, 0, 0] else 2)

    with Client(getattr(peer, protocol), "street") as asked:
        for length in (1, 5):
            peer.faults = ["INVALID_ARGUMENT"] if length == 5 else []
            found = list(asked.predict_video(iter(frames), length, parallel=2))
            answers = [x for x in found if not isinstance(x, ServingError)]
            assert len(found) == 6 and len(found) - len(answers) == (length == 5)
            for frame, answer in zip(frames, found, strict=True):
                assert isinstance(answer, ServingError) or (answer.labels == frame[..., 0]).all()
        # From the last frame no flow leads to the next one, from the first none to one before.
        found = [answer.labels for answer in asked.predict_video(frames, flow=flow)]
        assert [labels.min() for labels in found] == [19, 12, 12, 12, 12, 92]
        assert list(asked.predict_video([])) == []
        with pytest.raises(ValueError, match="`frames`: expected a frame of shape .4, 5, 3."):
            list(asked.predict_video([frames[0], frames[0][1:]]))
    assert video.INVALID_FLOW == INVALID_FLOW


def test_clips_and_lengths_that_are_none():
    asked, frames = Client("http://localhost:1", "street"), pictures(3, 4, 5)
    flow = np.zeros((2, 4, 5, 2), "float32")
    for arguments, name in (
        ((frames[0],), "frames"),
        ((frames.astype("float32"),), "frames"),
        ((frames, flow), "backward_flow"),
        ((frames, flow, flow[:1]), "backward_flow"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`: expected .*, received "):
            asked.predict_clip(*arguments)
    with pytest.raises(ValueError, match="`length`: expected an odd integer, received 2"):
        asked.predict_video(frames, length=2)


@pytest.fixture
def key_and_certificate(tmp_path):
    """PEM files of a key and of its certificate for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl for a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [*CERTIFICATE.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


def test_a_servers_own_certificate(server, key_and_certificate):
    key, certificate = key_and_certificate
    with ServingPeer(server.directory, "street", tls=(key, certificate)) as secure:
        for address in (secure.rest, secure.grpc):
            with Client(address, "street", certificate=certificate) as asked:
                assert asked.predict(pictures(4, 5)).labels.shape == (4, 5)
            with Client(address, "street", attempts=1, timeout=5) as asked:
                with pytest.raises(ServingError) as error:
                    asked.predict(pictures(4, 5))
                assert error.value.status in ("UNAVAILABLE", "UNKNOWN")


@pytest.mark.parametrize(
    ("version", "accepted"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)]
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_refused(version, accepted, key_and_certificate):
    key, certificate = key_and_certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # without it the server itself refuses 1.1
    context.load_cert_chain(certificate, key)
    context.minimum_version = context.maximum_version = version
    versions = []

    def answer():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            secure = context.wrap_socket(connection, server_side=True)
            versions.append(secure.version())
            secure.close()

    with socket.create_server(("localhost", 0)) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        address = f"https://localhost:{listener.getsockname()[1]}"
        with (
            Client(address, "street", certificate=certificate, attempts=1, timeout=5) as asked,
            pytest.raises(ServingError),
        ):
            asked.predict(pictures(4, 5))
        thread.join()
    assert versions == (["TLSv1.2"] if accepted else [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_versions(peer, protocol):
    address = getattr(peer, protocol)
    for version in (1, np.int64(1), "old"):
        with Client(address, "street", version=version) as served:
            assert served.versions() == {1: "AVAILABLE", 2: "AVAILABLE"}
            assert served.predict(pictures(4, 5)).labels.shape == (4, 5)
    for version in (3, "new"):
        with (
            Client(address, "street", version=version) as served,
            pytest.raises(ServingError, match="NOT_FOUND: .*Servable not found"),
        ):
            served.predict(pictures(4, 5))
    with (
        Client(address, "street", version=1, outputs=["overlay"]) as served,
        pytest.raises(ServingError, match="INVALID_ARGUMENT: .*overlay_bytes"),
    ):
        served.predict(pictures(4, 5))


@pytest.mark.parametrize("address", ["http://localhost:1", "grpc://localhost:1"])
def test_a_server_that_is_not_there(address, waits):
    with Client(address, "street", attempts=2) as served:
        with pytest.raises(ServingError, match=r"UNAVAILABLE \(2 attempts\): .*localhost:1") as e:
            served.predict(b"")
        assert e.value.status == "UNAVAILABLE" and len(waits) == 1


def test_answers_of_another_server(peer, monkeypatch):
    with Client(peer.rest, "street") as served:
        rest = served._transport
        for answer in ({}, [], {"predictions": [{"sizes": [1, 1], "labels": "no"}]}):
            monkeypatch.setattr(rest, "_request", lambda *_, answer=answer: answer)
            with pytest.raises(ServingError, match="UNKNOWN: expected a response of TensorFlow"):
                served.predict(b"")


@pytest.mark.parametrize("text", ["[", "{", "[Op:"])
def test_a_long_message_is_cut_before_it_is_searched(text):
    """The time of the search grows with the square of the length: minutes for this one."""
    start = time.monotonic()
    message = _error_of(json.dumps({"error": "no memory " + text * 120_000}).encode())
    assert message.startswith("no memory") and len(message) <= 2000
    assert time.monotonic() - start < 10


def test_a_batching_servers_padding_is_cut(peer, monkeypatch):
    row = {"sizes": [2, 1], "labels": [[1, 255], [2, 255], [255, 255]]}
    with Client(peer.rest, "street") as served:
        monkeypatch.setattr(served._transport, "_request", lambda *_: {"predictions": [row]})
        assert served.predict(b"").labels.tolist() == [[1], [2]]


def test_wrong_arguments_are_named():
    for arguments, name in (
        ({"address": "localhost:8501"}, "address"),
        ({"model": ""}, "model"),
        ({"outputs": ["sizes"]}, "outputs"),
        ({"version": 1.0}, "version"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"deadline": -1}, "deadline"),
        ({"attempts": 0}, "attempts"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"certificate": "server.pem"}, "certificate"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`: expected .*, received "):
            Client(**{"address": "http://localhost:1", "model": "street"} | arguments)
    served = Client("http://localhost:1", "street")
    with pytest.raises(ValueError, match="`parallel`"):
        served.predict_many([], parallel=0)
    for image in (np.zeros((4, 4), "uint8"), np.zeros((0, 4, 3), "uint8"), np.zeros((2, 2, 3))):
        with pytest.raises(ValueError, match="`image`: expected a path, bytes, an array"):
            served.predict(image)


def test_old_names_of_arguments_work(peer):
    image = np.zeros((4, 5, 3), "uint8")
    with Client(peer.rest, "street") as served:
        expected = served.predict(image).labels
        with pytest.warns(DeprecationWarning, match="`keras_dpn.client.Answer` .* Use `keras_dpn."):
            assert keras_dpn.client.Answer is Prediction
        with pytest.warns(DeprecationWarning, match="`picture=` .* Use `image=`"):
            np.testing.assert_array_equal(served.predict(picture=image).labels, expected)
        with pytest.warns(DeprecationWarning, match="`pictures=` .* Use `images=`"):
            (answer,) = served.predict_many(pictures=[image])
    np.testing.assert_array_equal(answer.labels, expected)


def test_the_names_of_outputs_are_the_exports():
    from keras_dpn.export.signatures import OUTPUTS

    assert typing.get_args(client.Output) == tuple(client.OUTPUTS) == OUTPUTS


def test_requests_are_as_tensorflow_serving_reads_them():
    """The same bytes as a warm-up request, which is written by hand."""
    from keras_dpn.client import messages
    from keras_dpn.export.warmup import _prediction_log

    spec = messages.ModelSpec(name="street", signature_name="serving_default")
    request = messages.PredictRequest(model_spec=spec)
    tensor = messages.string_tensor([b"one", b"two"])
    request.inputs.add(key="image_bytes", value=tensor)
    inputs = {"image_bytes": np.array([b"one", b"two"])}
    log = _prediction_log("street", "serving_default", inputs)
    assert log.endswith(request.SerializeToString(deterministic=True))


WITHOUT_KERAS = """
import sys
sys.modules["keras"] = sys.modules["tensorflow"] = sys.modules["PIL"] = None  # can't be imported
import json, numpy as np
from keras_dpn.client import Client
found = []
for address in sys.argv[1:]:
    with Client(address, "street") as client:
        found.append(client.predict(np.arange(60, dtype="uint8").reshape(4, 5, 3)).labels.tolist())
print(json.dumps(found))
"""


def test_neither_keras_nor_tensorflow_is_needed(peer):
    command = [sys.executable, "-c", WITHOUT_KERAS, peer.rest, peer.grpc]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [np.arange(0, 60, 3).reshape(4, 5).tolist()] * 2
