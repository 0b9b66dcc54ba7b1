"""The experiment trackers that a run can report to, by name."""

from typing import Literal

TrackerName = Literal["wandb", "mlflow"]
