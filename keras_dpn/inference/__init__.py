"""Class probabilities of whole images and videos."""

from keras_dpn.inference.precision import in_precision
from keras_dpn.inference.predictor import Predictor, predict_labels, predict_probabilities
from keras_dpn.inference.settings import InferenceSettings
from keras_dpn.probabilities import softmax, to_labels

__all__ = [
    "InferenceSettings",
    "Predictor",
    "in_precision",
    "predict_labels",
    "predict_probabilities",
    "softmax",
    "to_labels",
]
