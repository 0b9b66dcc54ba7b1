"""The sections of a report, each about one property of a network."""
