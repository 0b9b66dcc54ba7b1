"""Command-line options that several scripts share."""

from typing import Annotated, Literal

import tyro

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
# --work-dir RUN --work-dir RUN2: runs or presets, whose probabilities are averaged.
Sources = tyro.conf.UseAppendAction[tuple[str, ...]]
_ALSO = tyro.conf.arg(aliases=("--work-dir",))  # what --model was called
Model = Annotated[str, _ALSO]
Models = Annotated[Sources, _ALSO]
