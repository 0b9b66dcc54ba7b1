"""TensorFlow Serving's gRPC protocol."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from keras_dpn.client import messages
from keras_dpn.client.errors import ServingError
from keras_dpn.client.transports import (
    DTYPES,
    Request,
    Row,
    check_response,
    output,
    without_trace,
)

# No limit on requests, and no wait of a minute before reconnecting to a restarted server.
# `min_reconnect_backoff_ms` is also the time that a connection may take.
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Grpc:
    """TensorFlow Serving's gRPC protocol: smaller responses, with only the requested outputs.

    Args:
        target: "host:port".
        model: name of the model.
        version: as for `Rest`.
        secure: whether to use TLS.
        certificate: as for `Rest`; by default gRPC trusts its own list instead of the system's.
        max_bytes: largest response.
    """

    def __init__(
        self,
        target: str,
        model: str,
        version: int | str | None,
        secure: bool,
        certificate: Path | None,
        max_bytes: int,
    ) -> None:
        options = (*_CHANNEL_OPTIONS, ("grpc.max_receive_message_length", max_bytes))
        if secure:
            trusted = None if certificate is None else certificate.read_bytes()
            credentials = grpc.ssl_channel_credentials(trusted)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
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
        return check_response(lambda: _row(outputs, request.outputs))

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
            message = f"{self._target}: {without_trace(error.details() or '')}"
            raise ServingError(message, error.code().name) from error
        except ValueError as error:  # of a closed channel; what runs while it closes is CANCELLED
            message = f"{self._target}: the client is closed; create another one"
            raise ServingError(message, "CANCELLED") from error


def _message_value(value: bytes | np.ndarray) -> Any:
    """Return a batch of one."""
    if isinstance(value, bytes):
        return messages.string_tensor([value])
    return messages.array_tensor(value[None])


def _row(available: Mapping[str, Any], outputs: Sequence[str]) -> Row:
    row: Row = {}
    for name in outputs:
        value = messages.to_array(output(available, name))[0]
        if name in DTYPES and np.asarray(value).dtype != DTYPES[name]:
            raise ValueError(f"expected `{name}` of {DTYPES[name]}, received {value.dtype}")
        row[name] = [x.decode() for x in value] if name == "class_names" else value
    return row
