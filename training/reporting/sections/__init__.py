"""The sections of a run's report, each about one property of the run or its network."""
