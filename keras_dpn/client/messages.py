"""The TensorFlow Serving gRPC messages that a client needs, without TensorFlow.

Names and numbers of the fields are those of tensorflow_serving/apis (model.proto, predict.proto,
get_model_status.proto) and tensorflow/core/framework (tensor.proto, tensor_shape.proto,
types.proto). On the wire a map is a repeated message of key and value, an enumeration an int32.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "keras_dpn.client"
_MESSAGES = {
    "Dim": ["int64 size = 1"],
    "TensorShape": ["repeated Dim dim = 2"],
    "Tensor": [
        "int32 dtype = 1",
        "TensorShape tensor_shape = 2",
        "bytes tensor_content = 4",
        "repeated float float_val = 5",
        "repeated int32 int_val = 7",
        "repeated bytes string_val = 8",
    ],
    "NamedTensor": ["string key = 1", "Tensor value = 2"],
    "Int64Value": ["int64 value = 1"],
    "ModelSpec": [
        "string name = 1",
        "Int64Value version = 2",
        "string signature_name = 3",
        "string version_label = 4",
    ],
    "PredictRequest": [
        "ModelSpec model_spec = 1",
        "repeated NamedTensor inputs = 2",
        "repeated string output_filter = 3",
    ],
    "PredictResponse": ["repeated NamedTensor outputs = 1", "ModelSpec model_spec = 2"],
    "GetModelStatusRequest": ["ModelSpec model_spec = 1"],
    "ModelVersionStatus": ["int64 version = 1", "int32 state = 2"],
    "GetModelStatusResponse": ["repeated ModelVersionStatus model_version_status = 1"],
}
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
# Of types.proto: the field with the values of each type, and NumPy's name for it.
_STRING = 7
_DTYPES: dict[int, tuple[str, Any]] = {
    1: ("float_val", np.float32),
    3: ("int_val", np.int32),
    4: ("int_val", np.uint8),
    _STRING: ("string_val", object),
}


def _field(text: str) -> descriptor_pb2.FieldDescriptorProto:
    *repeated, kind, name, _, number = text.split()
    field = descriptor_pb2.FieldDescriptorProto(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if kind in _MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    return field


def _classes() -> dict[str, Any]:
    """Create a class for each message, in a separate pool: TensorFlow's are in the default one."""
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_dpn/client.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        file.message_type.add(name=name, field=[_field(text) for text in fields])
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _classes()
Tensor = _CLASSES["Tensor"]
ModelSpec = _CLASSES["ModelSpec"]
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]
GetModelStatusRequest = _CLASSES["GetModelStatusRequest"]
GetModelStatusResponse = _CLASSES["GetModelStatusResponse"]


def string_tensor(values: Sequence[bytes]) -> Any:
    """Return a `Tensor` of strings (B,)."""
    tensor = Tensor(dtype=_STRING, string_val=values)
    tensor.tensor_shape.dim.add(size=len(values))
    return tensor


def array_tensor(array: np.ndarray) -> Any:
    """Return a `Tensor` of float32, int32 or uint8."""
    dtype = next(n for n, (_, known) in _DTYPES.items() if known == array.dtype)
    tensor = Tensor(dtype=dtype, tensor_content=array.tobytes())
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def to_array(tensor: Any) -> np.ndarray:
    """Return a `Tensor` as an array, strings as objects.

    Raises:
        ValueError: for another type than float32, int32, uint8 and strings, and if the values
            don't fit the shape.
    """
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"expected a tensor of types {list(_DTYPES)}, received {tensor.dtype}")
    field, dtype = _DTYPES[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    return np.array(list(getattr(tensor, field)), dtype).reshape(shape)
