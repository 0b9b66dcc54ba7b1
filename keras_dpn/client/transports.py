"""TensorFlow Serving's two protocols, REST and gRPC; errors are ServingErrors."""

import base64
import dataclasses
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
import urllib3

from keras_dpn.client import messages
from keras_dpn.client.errors import ServingError

_DTYPES = {
    "labels": "uint8",
    "sizes": "int32",
    "probabilities": "float32",
    "class_colors": "uint8",
    "stage_labels": "uint8",
    "stage_confidences": "uint8",
}
_CONNECTIONS = 64  # connections kept open by REST
_CHUNK = 2**20
# Other HTTP codes are UNKNOWN. 429 and 502 come from a proxy in front of the server.
_STATUS_OF_CODE = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "UNAVAILABLE",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# In this order: the first is a subclass of the second, and all are of the last.
_STATUS_OF_ERROR = (
    (urllib3.exceptions.NewConnectionError, "UNAVAILABLE"),
    (urllib3.exceptions.TimeoutError, "DEADLINE_EXCEEDED"),
    (urllib3.exceptions.ProtocolError, "UNAVAILABLE"),
    (urllib3.exceptions.HTTPError, "UNKNOWN"),
)
# No limit on messages, and no wait of a minute before reconnecting to a restarted server.
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

# The parts of TensorFlow's messages about the graph: {{function_node f}}, [[{{node x}}]], [Op:f].
_MAX_MESSAGE = 2000
_TRACE = re.compile(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*?\]", re.DOTALL)

# The outputs for one image or clip: arrays without the batch's axis, bytes for names that end in
# "_bytes", and the classes' names.
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """A request for one image or clip.

    Attributes:
        signature: name of the signature.
        inputs: bytes and arrays by name.
        outputs: names of the requested outputs.
    """

    signature: str
    inputs: Mapping[str, bytes | np.ndarray]
    outputs: Sequence[str]


class Transport(Protocol):
    """A connection to a served model by one of the protocols; thread-safe."""

    def predict(self, request: Request, timeout: float) -> Row:
        """Return the requested outputs, in at most `timeout` seconds."""

    def versions(self, timeout: float) -> dict[int, str]:
        """Return the state of each version on the server."""

    def close(self) -> None:
        """Close the connections."""


class Rest:
    """TensorFlow Serving's REST protocol.

    Args:
        address: "http://host:port" or with https, and a path if a proxy requires one.
        model: name of the model.
        version: a number, a label, or None for the newest.
        certificate: PEM file of the certificates to trust instead of the system's.
    """

    def __init__(
        self, address: str, model: str, version: int | str | None, certificate: Path | None
    ) -> None:
        self._model = f"{address.rstrip('/')}/v1/models/{model}"
        self._predict = f"{self._model}{_version_path(version)}:predict"
        trusted = None if certificate is None else str(certificate)
        self._pool = urllib3.PoolManager(maxsize=_CONNECTIONS, retries=False, ca_certs=trusted)

    def predict(self, request: Request, timeout: float) -> Row:
        instance = {name: _json_value(value) for name, value in request.inputs.items()}
        body = json.dumps({"signature_name": request.signature, "instances": [instance]})
        response = self._request("POST", self._predict, body, timeout)
        return _checked(lambda: _json_row(response["predictions"][0], request.outputs))

    def versions(self, timeout: float) -> dict[int, str]:
        response = self._request("GET", self._model, None, timeout)
        states = _checked(lambda: response["model_version_status"])
        return _checked(lambda: {int(each["version"]): each["state"] for each in states})

    def close(self) -> None:
        self._pool.clear()

    def _request(self, method: str, url: str, body: str | None, timeout: float) -> Any:
        end = time.monotonic() + timeout
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={"Content-Type": "application/json"},
                timeout=urllib3.Timeout(total=timeout),
                redirect=False,
                preload_content=False,
            )
            content = _read(response, end)
        except urllib3.exceptions.HTTPError as error:
            status = next(name for kind, name in _STATUS_OF_ERROR if isinstance(error, kind))
            raise ServingError(f"{url}: {error}", status) from error
        if response.status != 200:
            status = _STATUS_OF_CODE.get(response.status, "UNKNOWN")
            message = _error_of(content) or f"HTTP {response.status} {response.reason or ''}"
            raise ServingError(f"{url}: {message}", status)
        return _checked(lambda: json.loads(content))


class Grpc:
    """TensorFlow Serving's gRPC protocol: smaller responses, with only the requested outputs.

    Args:
        target: "host:port".
        model: name of the model.
        version: as for `Rest`.
        secure: whether to use TLS.
        certificate: as for `Rest`; by default gRPC trusts its own list instead of the system's.
    """

    def __init__(
        self,
        target: str,
        model: str,
        version: int | str | None,
        secure: bool,
        certificate: Path | None,
    ) -> None:
        if secure:
            trusted = None if certificate is None else certificate.read_bytes()
            credentials = grpc.ssl_channel_credentials(trusted)
            self._channel = grpc.secure_channel(target, credentials, _CHANNEL_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target, _CHANNEL_OPTIONS)
        self._target, self._name = target, model
        self._version = version
        self._predict = self._method("PredictionService/Predict", messages.PredictResponse)
        self._status = self._method("ModelService/GetModelStatus", messages.GetModelStatusResponse)

    def predict(self, request: Request, timeout: float) -> Row:
        spec = messages.ModelSpec(name=self._name, signature_name=request.signature)
        if isinstance(self._version, int):
            spec.version.value = self._version
        elif self._version is not None:
            spec.version_label = self._version
        message = messages.PredictRequest(model_spec=spec, output_filter=request.outputs)
        for name, value in request.inputs.items():
            message.inputs.add(key=name, value=_message_value(value))
        response = self._call(self._predict, message, timeout)
        outputs = {x.key: x.value for x in response.outputs}
        return _checked(lambda: _message_row(outputs, request.outputs))

    def versions(self, timeout: float) -> dict[int, str]:
        request = messages.GetModelStatusRequest(model_spec=messages.ModelSpec(name=self._name))
        states = self._call(self._status, request, timeout).model_version_status
        return {each.version: messages.STATES.get(each.state, "UNKNOWN") for each in states}

    def close(self) -> None:
        self._channel.close()

    def _method(self, name: str, response: Any) -> Callable[..., Any]:
        return self._channel.unary_unary(
            f"/tensorflow.serving.{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _call(self, method: Callable[..., Any], request: Any, timeout: float) -> Any:
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            message = f"{self._target}: {_without_trace(error.details() or '')}"
            raise ServingError(message, error.code().name) from error


def _version_path(version: int | str | None) -> str:
    if version is None:
        return ""
    return f"/{'versions' if isinstance(version, int) else 'labels'}/{version}"


def _read(response: urllib3.BaseHTTPResponse, end: float) -> bytes:
    """Read the whole body by the deadline; urllib3's timeout applies to each chunk."""
    chunks = []
    while chunk := response.read1(_CHUNK):
        chunks.append(chunk)
        if time.monotonic() > end:
            response.close()
            raise urllib3.exceptions.TimeoutError("the response takes too long")
    return b"".join(chunks)


def _error_of(content: bytes) -> str:
    """Return the text of TensorFlow Serving's error, or "" for that of another server."""
    try:
        return _without_trace(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _without_trace(message: str) -> str:
    """Return TensorFlow's message without the nodes of the graph, in one line.

    Of a longer message it is the beginning: the time of the search grows with its square.
    """
    message = message[:_MAX_MESSAGE]
    return " ".join(_TRACE.sub(" ", message).split())


def _json_value(value: bytes | np.ndarray) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value.tolist()


def _message_value(value: bytes | np.ndarray) -> Any:
    """Return a batch of one."""
    if isinstance(value, bytes):
        return messages.string_tensor([value])
    return messages.array_tensor(value[None])


def _json_row(available: Mapping[str, Any], outputs: Sequence[str]) -> Row:
    row: Row = {}
    for name in outputs:
        value = _output(available, name)
        if name.endswith("_bytes"):
            row[name] = base64.b64decode(value["b64"])
        else:
            row[name] = np.array(value, _DTYPES[name]) if name in _DTYPES else value
    return row


def _message_row(available: Mapping[str, Any], outputs: Sequence[str]) -> Row:
    row: Row = {}
    for name in outputs:
        row[name] = messages.to_array(_output(available, name))[0]
        if name == "class_names":
            row[name] = [value.decode() for value in row[name]]
    return row


def _output(available: Mapping[str, Any], name: str) -> Any:
    if name not in available:
        raise ServingError(
            f"the model has no output {name!r}, only {sorted(available)}; choose its outputs "
            "when you export it (`outputs`)",
            "INVALID_ARGUMENT",
        )
    return available[name]


def _checked(read: Callable[[], Any]) -> Any:
    """Return the result of `read`; raise ServingError for an unexpected response."""
    try:
        return read()
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        message = f"expected a response of TensorFlow Serving, received another: {error!r}"
        raise ServingError(message, "UNKNOWN") from error
