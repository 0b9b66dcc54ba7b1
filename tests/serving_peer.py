"""A server that speaks TensorFlow Serving's REST and gRPC over exported models, for tests.

TensorFlow Serving's binary is on no package registry. What is here follows its documentation and
its .proto files: REST's predict in row format and model status, gRPC's Predict and GetModelStatus,
versions and labels, tensors in the typed fields of a TensorProto as it sends them.
"""

import base64
import json
import ssl
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from keras_dpn.client import messages

CODES = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "INTERNAL": 500, "UNAVAILABLE": 503}
AVAILABLE = 30


class Refusal(Exception):
    """An error that a client is told."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status


class ServingPeer:
    """Serves all versions of an exported model, on free ports of this machine.

    Args:
        directory: as `keras_dpn.export.export` writes it.
        name: of the model.
        labels: of versions.
        workers: gRPC requests at a time.
        tls: PEM files of a key and its certificate; without, connections are not encrypted.

    Attributes:
        directory: as given.
        rest, grpc: addresses, as `keras_dpn.client.Client` takes them.
        faults: what the next predict requests meet, in order: the name of a status, or a wait of so
            many seconds.
        requests: how many predict requests came.
        busiest: the most at a time.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        labels: Mapping[str, int] | None = None,
        workers: int = 16,
        tls: tuple[Path, Path] | None = None,
    ):
        versions = [path for path in directory.iterdir() if path.name.isdecimal()]
        self.directory, self.name, self.labels = directory, name, dict(labels or {})
        self.models = {int(path.name): tf.saved_model.load(str(path)) for path in versions}
        self.faults: list[str | float] = []
        self.requests = self.busiest = self._busy = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("localhost", 0), _handler(self))
        self._http.daemon_threads = True
        self._grpc = grpc.server(ThreadPoolExecutor(workers), options=_UNLIMITED)
        self._grpc.add_generic_rpc_handlers(_services(self))
        if tls is None:
            port, secure = self._grpc.add_insecure_port("localhost:0"), ""
        else:
            port, secure = self._add_tls(*tls), "s"
        self.rest = f"http{secure}://localhost:{self._http.server_port}"
        self.grpc = f"grpc{secure}://localhost:{port}"

    def __enter__(self) -> Self:
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()

    def _add_tls(self, key: Path, certificate: Path) -> int:
        """Encrypts REST, and opens gRPC's port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        return self._grpc.add_secure_port("localhost:0", credentials)

    def predict(
        self,
        model: str,
        version: int | str | None,
        signature: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs a signature; Refusal where TensorFlow Serving refuses."""
        with self._lock:
            self.requests += 1
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
            fault = self.faults.pop(0) if self.faults else None
        try:
            self._meet(fault)
            return self._run(model, version, signature, inputs, outputs)
        finally:
            with self._lock:
                self._busy -= 1

    def versions(self, model: str, version: int | str | None = None) -> list[int]:
        """The versions that a request means, the newest first."""
        chosen = self.labels.get(version, -1) if isinstance(version, str) else version
        found = [n for n in sorted(self.models, reverse=True) if chosen in (None, n)]
        if model != self.name or not found:
            raise Refusal("NOT_FOUND", f"Servable not found for request: {model}, {version}")
        return found

    def _meet(self, fault: str | float | None) -> None:
        if isinstance(fault, str):
            raise Refusal(fault, "as the test asks")
        if fault is not None:
            time.sleep(fault)

    def _run(self, model, version, signature, inputs, outputs) -> dict[str, np.ndarray]:
        signatures = self.models[self.versions(model, version)[0]].signatures
        if signature not in signatures:
            raise Refusal("INVALID_ARGUMENT", f"Serving signature name not found: {signature}")
        function = signatures[signature]
        specs = function.structured_input_signature[1]
        unknown = set(outputs) - set(function.structured_outputs)
        if specs.keys() != inputs.keys() or unknown:
            raise Refusal("INVALID_ARGUMENT", f"inputs {sorted(inputs)}, no outputs {unknown}")
        try:
            tensors = {k: tf.constant(inputs[k], spec.dtype) for k, spec in specs.items()}
            found = function(**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise Refusal("INVALID_ARGUMENT", error.message) from error
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise Refusal("INTERNAL", str(error)) from error
        return {name: x.numpy() for name, x in found.items() if name in outputs or not outputs}


def _handler(peer: ServingPeer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open
        disable_nagle_algorithm = True

        def do_GET(self) -> None:  # noqa: N802
            self._answer(self._status)

        def do_POST(self) -> None:  # noqa: N802
            self._answer(self._predict)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, work) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                code, answer = 200, work(body)
            except Refusal as error:
                code, answer = CODES[error.status], {"error": str(error)}
            content = json.dumps(answer).encode()
            try:
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:  # the client has gone
                self.close_connection = True

        def _status(self, _: bytes) -> dict[str, Any]:
            model, version, verb = _parsed(self.path)
            if verb:
                raise Refusal("INVALID_ARGUMENT", f"Malformed request: GET {self.path}")
            state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            found = peer.versions(model, version)
            return {"model_version_status": [{"version": str(n), **state} for n in found]}

        def _predict(self, body: bytes) -> dict[str, Any]:
            model, version, verb = _parsed(self.path)
            try:
                request = json.loads(body)
                rows = request["instances"]
                columns = {name: [_from_json(row[name]) for row in rows] for name in rows[0]}
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise Refusal("INVALID_ARGUMENT", f"JSON Parse error: {error!r}") from error
            if verb != "predict":
                raise Refusal("INVALID_ARGUMENT", f"Malformed request: POST {self.path}")
            signature = request.get("signature_name", "serving_default")
            found = peer.predict(model, version, signature, columns)
            answers = [
                {name: _to_json(name, x[i]) for name, x in found.items()} for i in range(len(rows))
            ]
            return {"predictions": answers}

    return Handler


def _parsed(path: str) -> tuple[str, int | str | None, str]:
    """Model, version and verb of /v1/models/NAME[/versions/N|/labels/L][:VERB]."""
    place, _, verb = path.partition(":")
    match place.strip("/").split("/"):
        case ["v1", "models", model]:
            return model, None, verb
        case ["v1", "models", model, "versions", number] if number.isdecimal():
            return model, int(number), verb
        case ["v1", "models", model, "labels", label]:
            return model, label, verb
    raise Refusal("INVALID_ARGUMENT", f"Malformed request: {path}")


def _from_json(value: Any) -> Any:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def _to_json(name: str, value: Any) -> Any:
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(value).decode()}
    values = np.asarray(value).tolist()
    return [x.decode() for x in values] if name == "class_names" else values


_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_FIELDS = {"float32": "float_val", "int32": "int_val", "uint8": "int_val", "string": "string_val"}


def _services(peer: ServingPeer) -> tuple[grpc.GenericRpcHandler, ...]:
    def predict(request, context):
        spec = request.model_spec
        inputs = {
            x.key: tf.make_ndarray(tensor_pb2.TensorProto.FromString(x.value.SerializeToString()))
            for x in request.inputs
        }
        signature = spec.signature_name or "serving_default"
        try:
            asked = spec.name, _version(spec), signature, inputs
            found = peer.predict(*asked, outputs=list(request.output_filter))
        except Refusal as error:
            context.abort(grpc.StatusCode[error.status], str(error))
        response = messages.PredictResponse(model_spec=spec)
        for name, value in found.items():
            tensor = messages.Tensor.FromString(_tensor(value).SerializeToString())
            response.outputs.add(key=name, value=tensor)
        return response

    def status(request, context):
        spec = request.model_spec
        try:
            found = peer.versions(spec.name, _version(spec))
        except Refusal as error:
            context.abort(grpc.StatusCode[error.status], str(error))
        response = messages.GetModelStatusResponse()
        for number in found:
            response.model_version_status.add(version=number, state=AVAILABLE)
        return response

    return (
        _service("PredictionService", "Predict", predict, messages.PredictRequest),
        _service("ModelService", "GetModelStatus", status, messages.GetModelStatusRequest),
    )


def _service(service: str, method: str, function, request) -> grpc.GenericRpcHandler:
    handler = grpc.unary_unary_rpc_method_handler(
        function,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )
    return grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", {method: handler})


def _version(spec: Any) -> int | str | None:
    if spec.HasField("version"):
        return spec.version.value
    return spec.version_label or None


def _tensor(value: np.ndarray) -> tensor_pb2.TensorProto:
    """With the values in the field of their type, not packed: so TensorFlow Serving answers."""
    dtype = tf.as_dtype(value.dtype)
    shape = tf.TensorShape(value.shape).as_proto()
    values = {_FIELDS[dtype.name]: value.ravel().tolist()}
    return tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, tensor_shape=shape, **values)


def main(directory: str, name: str) -> None:
    """Serves until the standard input ends, and prints the addresses first."""
    with ServingPeer(Path(directory), name) as peer:
        print(json.dumps({"rest": peer.rest, "grpc": peer.grpc}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
