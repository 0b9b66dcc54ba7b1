"""What TensorFlow Serving's two protocols have in common; errors are ServingErrors."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from keras_dpn.client.errors import ServingError

DTYPES = {
    "labels": "uint8",
    "sizes": "int32",
    "probabilities": "float32",
    "class_colors": "uint8",
    "stage_labels": "uint8",
    "stage_confidences": "uint8",
}
MAX_BYTES = 2**27  # of a response
# The parts of TensorFlow's messages about the graph: {{function_node f}}, [[{node x}}]], [Op:f].
_TRACE = re.compile(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*?\]", re.DOTALL)
_MAX_MESSAGE = 2000

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


def check_response(read: Callable[[], Any]) -> Any:
    """Return the result of `read`; raise ServingError for a response that it can't read."""
    try:
        return read()
    # Of numbers out of range, of nesting too deep, and of arrays too large for the memory.
    except (
        *(ValueError, KeyError, TypeError, IndexError, AttributeError),
        *(ArithmeticError, RecursionError, MemoryError),
    ) as error:
        message = f"expected a response of TensorFlow Serving, received another: {error!r}"
        raise ServingError(without_trace(message), "UNKNOWN") from error


def output(available: Mapping[str, Any], name: str) -> Any:
    """Return an output of a response; raise ServingError if the model has none of this name."""
    if name not in available:
        names = without_trace(str(sorted(available)))
        raise ServingError(
            f"the model has no output {name!r}, only {names}; choose its outputs "
            "when you export it (`outputs`)",
            "INVALID_ARGUMENT",
        )
    return available[name]


def without_trace(message: str) -> str:
    """Return a server's message without the nodes of TensorFlow's graph, in one printable line.

    Of a longer message it is the beginning: the time of the search grows with its square.
    """
    message = _TRACE.sub(" ", message[:_MAX_MESSAGE])
    return " ".join("".join(x if x.isprintable() else " " for x in message).split())
