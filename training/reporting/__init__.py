"""The parts of a run's report: tables, pictures and contexts as pieces of HTML."""
