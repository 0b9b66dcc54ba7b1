"""Models for production: SavedModels for TensorFlow Serving, LiteRT and ONNX files."""

from keras_dpn.export.files import export_litert, export_onnx
from keras_dpn.export.saved_model import export

__all__ = ["export", "export_litert", "export_onnx"]
