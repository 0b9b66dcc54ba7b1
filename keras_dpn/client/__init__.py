"""Client of a model that TensorFlow Serving serves; needs neither Keras nor TensorFlow.

The extra `client` installs what it needs: NumPy, urllib3, grpcio and protobuf.
"""

from keras_dpn.client.answers import Answer
from keras_dpn.client.client import Client
from keras_dpn.client.errors import ServingError

__all__ = ["Answer", "Client", "ServingError"]
