"""A client against servers that are slow, endless or don't speak TensorFlow Serving's protocols."""

import gzip
import itertools
import json
import socket
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import grpc
import numpy as np
import pytest

from keras_dpn.client import Client, ServingError, messages

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = {"sizes": [1, 2], "labels": [[3, 4]]}
IMAGE = np.zeros((1, 2, 3), "uint8")


@contextmanager
def serving(answer):
    """An HTTP address where `answer(request)` yields bytes to send, and the requests."""
    requests = []

    def talk(connection):
        with connection, suppress(OSError):
            connection.settimeout(20)
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(2**16)
            head, body = request.split(b"\r\n\r\n", 1)
            length = int(head.lower().split(b"content-length: ")[1].split()[0])
            while len(body) < length:
                body += connection.recv(2**16)
            requests.append(head.decode())
            for part in answer():
                connection.sendall(part)

    def accept():
        with suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)


def drip(first, content):
    yield first
    for byte in content:
        time.sleep(0.1)
        yield bytes([byte])


def reply(content, headers=b"", status=b"HTTP/1.1 200 OK"):
    length = b"Content-Length: %d\r\nConnection: close\r\n" % len(content)
    return [status + b"\r\n" + length + headers + b"\r\n" + content]


def row(**outputs):
    return reply(json.dumps({"predictions": [GOOD | outputs]}).encode())


@pytest.mark.parametrize(
    "answer",
    [
        lambda: drip(b"", b"HTTP/1.1 200 " + 1000 * b"O"),
        lambda: drip(OK, b"X: " + 1000 * b"a"),
        lambda: drip(b"", itertools.cycle(b"HTTP/1.1 100 Continue\r\n\r\n")),
        lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda: drip(CHUNKED, 1000 * b"0"),
        lambda: drip(OK + b"\r\n", 1000 * b" "),
        lambda: drip(OK + b"Content-Length: 1000\r\n\r\n", 1000 * b" "),
    ],
    ids=["status", "headers", "100", "fast_100", "chunk", "body", "body_of_known_length"],
)
def test_the_deadline_holds_whatever_drips(answer):
    with serving(answer) as (address, _), Client(address, "m", timeout=0.4, deadline=0.7) as client:
        start = time.monotonic()
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED") as error:
            client.predict(IMAGE)
        assert error.value.status == "DEADLINE_EXCEEDED"
        assert time.monotonic() - start < 2


def test_the_deadline_holds_while_a_name_is_resolved(monkeypatch):
    real, released, resolved = socket.getaddrinfo, threading.Event(), []

    def resolve(host, *args, **kwargs):
        if host == "slow.example" and not kwargs:
            released.wait(60)
            resolved.append(host)
            raise socket.gaierror
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with Client("http://slow.example:1", "m", timeout=0.2, deadline=0.3) as client:
        with pytest.raises(ServingError, match=r"resolving slow.example|takes too long") as error:
            client.predict(IMAGE)
        assert error.value.status == "DEADLINE_EXCEEDED" and not resolved
    released.set()


def test_all_addresses_of_a_name_are_tried(monkeypatch):
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host == "two.example" and kwargs:
            raise socket.gaierror
        if host == "two.example":
            kind = socket.SOCK_STREAM, 6, ""
            both = (socket.AF_INET6, ("::1", port, 0, 0)), (socket.AF_INET, ("127.0.0.1", port))
            return [(family, *kind, place) for family, place in both]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with serving(lambda: row()) as (address, requests):
        named = address.replace("127.0.0.1", "two.example")
        with Client(named, "m") as client:
            assert client.predict(IMAGE).labels.tolist() == [[3, 4]]
    assert "Host: two.example" in requests[0]


def test_a_name_that_is_not_known():
    with Client("http://nowhere.invalid:1", "m", attempts=1) as client:
        with pytest.raises(ServingError, match="nowhere.invalid") as error:
            client.predict(IMAGE)
        assert error.value.status == "UNAVAILABLE"


def test_a_connection_that_was_shut_down_is_not_used_again():
    answers = iter([lambda: drip(b"", OK), lambda: row()])
    with (
        serving(lambda: next(answers)()) as (address, requests),
        Client(address, "m", timeout=0.3, deadline=10) as client,
    ):
        assert client.predict(IMAGE).labels.tolist() == [[3, 4]]
    assert len(requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda: itertools.chain([CHUNKED], itertools.repeat(b"10000\r\n" + bytes(2**16) + b"\r\n")),
        lambda: itertools.chain([OK + b"\r\n"], itertools.repeat(bytes(2**16))),
        lambda: reply(bytes(2**20 + 1)),
        lambda: reply(bytes(2**20 + 1), status=b"HTTP/1.1 500 No"),
    ],
    ids=["chunked", "endless", "known", "error"],
)
def test_bytes_are_limited(answer):
    with (
        serving(answer) as (address, _),
        Client(address, "m", max_bytes=2**20) as client,
        pytest.raises(ServingError, match=r"at most 1048576 bytes.*`max_bytes`") as error,
    ):
        client.predict(IMAGE)
        assert error.value.status == "RESOURCE_EXHAUSTED"


def test_nothing_is_unpacked():
    """1 MB that gzip unpacks to a thousand times as much."""
    content = gzip.compress(bytes(2**22))
    with (
        serving(lambda: reply(content, b"Content-Encoding: gzip\r\n")) as (address, _),
        Client(address, "m", max_bytes=2**20) as client,
        pytest.raises(ServingError, match="expected a response of TensorFlow Serving"),
    ):
        client.predict(IMAGE)


ODD_OUTPUTS = [
    {"labels": [[300, 1]]},
    {"labels": [[-1, 1]]},
    {"labels": [[float("inf"), 1]]},
    {"labels": [[1.7, 1]]},
    {"labels": [[True, False]]},
    {"labels": [["1", "2"]]},
    {"labels": [[10**30, 1]]},
    {"labels": 3},
    {"labels": []},
    {"labels": [3, 4]},
    {"labels": [[3, 4], [5]]},
    {"labels": [[3]]},  # smaller than the image
    {"labels": [[[3, 4]]]},
    {"labels": [[[[3, 4]]]]},
    {"labels": None},
    {"labels": {"b64": "eA=="}},
    {"sizes": 3},
    {"sizes": [1]},
    {"sizes": [1, 2, 3]},
    {"sizes": [[1, 2]]},
    {"sizes": [-1, 2]},
    {"sizes": [1, 1.5]},
    {"sizes": [500, 500]},
    {"probabilities": [[0.5, 0.5]]},
    {"probabilities": [[[1]]]},
    {"overlay_bytes": {"b64": "%%%"}},
    {"overlay_bytes": "x"},
    {"class_names": 5},
    {"class_names": [1, 2]},
    {"class_colors": [1, 2, 3]},
    {"class_colors": [[1, 2]]},
    {"stage_labels": [[3, 4]]},
    {"stage_labels": [[[3, 4]]], "stage_confidences": [[[3]]]},
]
# What an answer has where a case says nothing else.
REST = {
    "probabilities": [[[0.5, 0.5], [0.5, 0.5]]],
    "overlay_bytes": {"b64": ""},
    "class_names": ["a"],
    "class_colors": [[1, 2, 3]],
    "stage_labels": [[[3, 4]]],
    "stage_confidences": [[[3, 4]]],
}
OUTPUTS = ("labels", "probabilities", "overlay", "classes", "stages")


def test_an_odd_answer_is_an_error_of_serving_and_the_next_ones_come():
    answers = iter([*({**REST, **odd} for odd in ODD_OUTPUTS), REST])
    with (
        serving(lambda: row(**next(answers))) as (address, _),
        Client(address, "m", outputs=OUTPUTS) as client,
    ):
        *found, last = client.predict_many([IMAGE] * (len(ODD_OUTPUTS) + 1), parallel=1)
    for odd, error in zip(ODD_OUTPUTS, found, strict=True):
        assert isinstance(error, ServingError), odd
        assert "expected a response of TensorFlow Serving" in str(error), odd
        assert error.status == "UNKNOWN" and len(str(error)) < 3000, odd
    assert last.labels.tolist() == [[3, 4]] and last.class_names == ("a",)


ODD_BODIES = [
    b"[" * 100_000,
    b"",
    b"<html>",
    b'{"predictions": []}',
    b'{"predictions": 3}',
    b'{"predictions": "labels sizes"}',
    b'{"predictions": ["labels sizes"]}',
    b'{"predictions": [["labels", "sizes"]]}',
    b'{"predictions": [' + b"9" * 10_000 + b"]}",
    b'{"predictions": [{"\x1b[31m": 1}]}',
    b"\xff\xfe\x00",
]


@pytest.mark.parametrize("status", [b"200 OK", b"500 \x1b[31m" + 5000 * b"a"])
def test_odd_bodies(status):
    bodies = iter(ODD_BODIES)
    with (
        serving(lambda: reply(next(bodies), status=b"HTTP/1.1 " + status)) as (address, _),
        Client(address, "m") as client,
    ):
        for body in ODD_BODIES:
            with pytest.raises(ServingError) as error:
                client.predict(IMAGE)
            message = str(error.value)
            assert message.isprintable() and len(message) < 3000, body[:40]


def test_odd_versions():
    for status in ([{"version": 1}], [{"version": "x", "state": ""}], 3, [{"version": 1e999}]):
        content = json.dumps({"model_version_status": status}).encode()
        # GET has no body, nor its length.
        with (
            serving_get(content) as address,
            Client(address, "m") as client,
            pytest.raises(ServingError, match="expected a response"),
        ):
            client.versions()


@contextmanager
def serving_get(content):
    def accept():
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(2**16)
                connection.sendall(reply(content)[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("name", ["../admin", "a?b#c", "a/b:predict", "a\r\nX: y"])
def test_a_models_name_is_quoted(name):
    with (
        serving(lambda: row()) as (address, requests),
        Client(address, name) as client,
    ):
        client.predict(IMAGE)
        with Client(address, "m", version=name) as client:
            client.predict(IMAGE)
    quoted = urllib.parse.quote(name, safe="")
    paths = [request.split()[1] for request in requests]
    assert paths == [f"/v1/models/{quoted}:predict", f"/v1/models/m/labels/{quoted}:predict"]


# === gRPC ===


@contextmanager
def serving_grpc(answer):
    """A gRPC address where every method returns the bytes of `answer()`."""
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: answer())
    service = grpc.method_handlers_generic_handler(
        "tensorflow.serving.PredictionService", {"Predict": handler}
    )
    server = grpc.server(
        ThreadPoolExecutor(2), [service], options=[("grpc.max_send_message_length", -1)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def tensors(**arrays):
    response = messages.PredictResponse()
    for name, array in arrays.items():
        is_tensor = isinstance(array, messages.Tensor)
        value = array if is_tensor else messages.array_tensor(np.asarray(array))
        response.outputs.add(key=name, value=value)
    return response.SerializeToString()


SIZES = np.array([[1, 2]], "int32")
LABELS = np.array([[[3, 4]]], "uint8")
ODD_TENSORS = [
    {"labels": LABELS.astype("float32")},
    {"labels": LABELS.astype("int32")},
    {"labels": messages.string_tensor([b"a"])},
    {"labels": LABELS[0, 0, 0]},
    {"labels": LABELS[0, 0]},
    {"labels": LABELS[:0]},
    {"labels": LABELS[None]},
    {"labels": messages.Tensor(dtype=4, int_val=[300])},
    {"labels": messages.Tensor(dtype=99)},
    {"sizes": SIZES[0, 0]},
    {"sizes": SIZES[0]},
    {"sizes": SIZES.astype("float32")},
    {"sizes": np.array([[1, 2, 3]], "int32")},
    {"sizes": np.array([[500, 500]], "int32")},
]


def test_odd_tensors():
    answers = iter([*ODD_TENSORS, {}])
    with (
        serving_grpc(
            lambda: tensors(**{"sizes": SIZES, "labels": LABELS, **next(answers)})
        ) as port,
        Client(f"grpc://127.0.0.1:{port}", "m") as client,
    ):
        *found, last = client.predict_many([IMAGE] * (len(ODD_TENSORS) + 1), parallel=1)
    for odd, error in zip(ODD_TENSORS, found, strict=True):
        assert isinstance(error, ServingError) and error.status == "UNKNOWN", odd
    assert last.labels.tolist() == [[3, 4]]


def test_bytes_over_grpc_are_limited():
    with (
        serving_grpc(lambda: bytes(2**20 + 1)) as port,
        Client(f"grpc://127.0.0.1:{port}", "m", max_bytes=2**20) as client,
        pytest.raises(ServingError) as error,
    ):
        client.predict(IMAGE)
    assert error.value.status == "RESOURCE_EXHAUSTED"


def test_a_distant_server_is_reached_over_grpc():
    """Connections that take half a second are no reason to begin new ones."""
    with (
        serving_grpc(lambda: tensors(sizes=SIZES, labels=LABELS)) as port,
        delayed(port, 0.25) as (address, connections),
        Client(address, "m") as client,
    ):
        assert client.predict(IMAGE).labels.tolist() == [[3, 4]]
    assert len(connections) == 1


@contextmanager
def delayed(port, seconds):
    """A proxy in front of a port of this machine, where each way takes so many seconds."""
    connections = []

    def copy(source, target):
        with suppress(OSError):
            while data := source.recv(2**16):
                threading.Timer(seconds, target.sendall, (data,)).start()

    def accept():
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", port))
                connections.append(near)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"grpc://127.0.0.1:{listener.getsockname()[1]}", connections
