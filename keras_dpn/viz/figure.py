"""What all figures share. Matplotlib is imported in functions, as the library works without it."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#222222"


def figure_png(figure: "Figure", dpi: int = 144) -> bytes:
    """Return a figure as PNG bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def as_text(name: str) -> str:
    """Return a name that Matplotlib doesn't take for a formula."""
    return name.replace("$", r"\$")


def hide_frame(axes: "Axes") -> None:
    """Reduce the frame to two axes, and add horizontal lines."""
    axes.grid(axis="y", color="#e4e4e4")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
