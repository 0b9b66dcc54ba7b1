"""From a training run to a SavedModel or a preset."""

from typing import Literal

Format = Literal["saved_model", "litert", "litert_float16", "litert_dynamic", "litert_int8", "onnx"]
Output = Literal["labels", "probabilities", "overlay", "label_png", "classes", "stages"]
