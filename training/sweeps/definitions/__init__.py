"""Definitions of ablations, one file per type of network."""

from . import dpn, networks, parsenet, piecewise
from .base import Row, Sweep
from .file import override, read_sweep

SWEEPS: dict[str, Sweep] = {
    **dpn.SWEEPS,
    **parsenet.SWEEPS,
    **piecewise.SWEEPS,
    **networks.SWEEPS,
}

__all__ = ["SWEEPS", "Row", "Sweep", "override", "read_sweep"]
