"""TensorFlow Serving's REST protocol."""

import base64
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import urllib3

from keras_dpn.client.deadline import Deadline, WatchedPoolManager
from keras_dpn.client.errors import ServingError
from keras_dpn.client.transports import (
    DTYPES,
    Request,
    Row,
    check_response,
    output,
    without_trace,
)

_CONNECTIONS = 64  # connections kept open
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


class Rest:
    """TensorFlow Serving's REST protocol.

    Args:
        address: "http://host:port" or with https, and a path if a proxy requires one.
        model: name of the model.
        version: a number, a label, or None for the newest.
        certificate: PEM file of the certificates to trust instead of the system's.
        max_bytes: largest response.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | str | None,
        certificate: Path | None,
        max_bytes: int,
    ) -> None:
        self._model = f"{address.rstrip('/')}/v1/models/{_quoted(model)}"
        self._predict = f"{self._model}{_version_path(version)}:predict"
        self._max_bytes = max_bytes
        trusted = None if certificate is None else str(certificate)
        self._pool = WatchedPoolManager(maxsize=_CONNECTIONS, retries=False, ca_certs=trusted)

    def predict(self, request: Request, timeout: float) -> Row:
        instance = {name: _json_value(value) for name, value in request.inputs.items()}
        body = json.dumps({"signature_name": request.signature, "instances": [instance]})
        response = self._request("POST", self._predict, body, timeout)
        return check_response(lambda: _row(response["predictions"][0], request.outputs))

    def versions(self, timeout: float) -> dict[int, str]:
        response = self._request("GET", self._model, None, timeout)
        states = check_response(lambda: response["model_version_status"])
        return check_response(lambda: {int(each["version"]): str(each["state"]) for each in states})

    def close(self) -> None:
        self._pool.clear()

    def _request(self, method: str, url: str, body: str | None, timeout: float) -> Any:
        with Deadline(timeout) as deadline:
            try:
                response = self._pool.request(
                    method,
                    url,
                    body=body,
                    headers={"Content-Type": "application/json"},
                    timeout=urllib3.Timeout(total=timeout),
                    redirect=False,
                    preload_content=False,
                    decode_content=False,  # nothing compressed was asked for
                )
                content = self._read(response)
                if deadline.expired:  # a body without a length ends where the connection does
                    raise urllib3.exceptions.TimeoutError
            except urllib3.exceptions.HTTPError as error:
                status = next(name for kind, name in _STATUS_OF_ERROR if isinstance(error, kind))
                reason = without_trace(str(error))
                if deadline.expired:
                    status, reason = "DEADLINE_EXCEEDED", "the response takes too long"
                raise ServingError(f"{url}: {reason}", status) from error
            except ValueError as error:  # of http.client, which urllib3 passes on
                raise ServingError(f"{url}: {without_trace(str(error))}", "UNKNOWN") from error
        if response.status != 200:
            status = _STATUS_OF_CODE.get(response.status, "UNKNOWN")
            message = _error_of(content) or f"HTTP {response.status} {response.reason or ''}"
            raise ServingError(f"{url}: {without_trace(message)}", status)
        return check_response(lambda: json.loads(content))

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytearray:
        content = bytearray()
        while chunk := response.read1(_CHUNK):
            content += chunk
            if len(content) > self._max_bytes:
                response.close()
                raise ServingError(
                    f"expected a response of at most {self._max_bytes} bytes, received more; "
                    "pass a larger `max_bytes` if you trust the server",
                    "RESOURCE_EXHAUSTED",
                )
        return content


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _version_path(version: int | str | None) -> str:
    if version is None:
        return ""
    return f"/{'versions' if isinstance(version, int) else 'labels'}/{_quoted(str(version))}"


def _error_of(content: bytes | bytearray) -> str:
    """Return the text of TensorFlow Serving's error, or "" for that of another server."""
    try:
        return without_trace(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""


def _json_value(value: bytes | np.ndarray) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value.tolist()


def _row(available: Mapping[str, Any], outputs: Sequence[str]) -> Row:
    row: Row = {}
    for name in outputs:
        value = output(available, name)
        if name.endswith("_bytes"):
            row[name] = base64.b64decode(value["b64"], validate=True)
        else:
            row[name] = _array(value, DTYPES[name]) if name in DTYPES else value
    return row


def _array(value: Any, dtype: str) -> np.ndarray:
    """Return nested lists as an array; raise ValueError for numbers that the type can't hold."""
    array = np.array(value)
    is_integer = np.issubdtype(dtype, np.integer)
    if array.dtype.kind not in ("iu" if is_integer else "iuf"):
        raise ValueError(f"expected {dtype}, received {array.dtype}")
    if is_integer and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise ValueError(f"expected {dtype}, received {array.min()} to {array.max()}")
    return array.astype(dtype)
