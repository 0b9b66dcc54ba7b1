"""The progress of a run."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """The progress of a run, which checkpoints store next to the weights."""

    stage: int = 0
    epoch: int = 0
    """Completed epochs of the stage."""
    best_miou: float | None = None
    """Of the stage's epochs; None before the stage begins."""
    retries: int = 0
    """How often the stage went back to its last checkpoint since its learning rate was set."""
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    examples: dict[str, int] = field(default_factory=dict)
    """Number of examples of the splits; empty in the checkpoints of version 0.1."""

    @property
    def rate_factor(self) -> float:
        """The factor on the stage's learning rate."""
        return 0.5 ** max(0, self.retries - 1)

    def validations(self, stage: str) -> dict[int, float]:
        """Return the mean IoU of a stage's validations by epoch; 0: before the stage's training."""
        rows = [row for row in self.history if row["stage"] == stage]
        return {row["epoch"]: row["val_miou"] for row in rows if "val_miou" in row}

    def notes(self, kind: str) -> list[dict[str, Any]]:
        """Return the history's entries of a kind, each with stage and epoch.

        Args:
            kind: "recovery", "change" or "warning".
        """
        noted = [row for row in self.history if kind in row]
        return [{"stage": row["stage"], "epoch": row["epoch"], **row[kind]} for row in noted]
