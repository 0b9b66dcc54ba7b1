"""Client of a model that TensorFlow Serving serves; needs neither Keras nor TensorFlow.

The extra `client` installs what it needs: NumPy, urllib3, grpcio and protobuf.
"""

from typing import Any

from keras_dpn.client.client import Client
from keras_dpn.client.errors import ServingError
from keras_dpn.client.predictions import Prediction
from keras_dpn.deprecation import warn_renamed

__all__ = ["Client", "Prediction", "ServingError"]


def __getattr__(name: str) -> Any:
    if name == "Answer":
        warn_renamed("keras_dpn.client.Answer", "keras_dpn.client.Prediction")
        return Prediction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
