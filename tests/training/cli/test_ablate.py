import os

import pytest

from training.cli import ablate, main
from training.sweeps import runner
from training.sweeps.runner import Outcome
from training.sweeps.table import RowSummary, Summary

ROWS = tuple(RowSummary(name, name, None, {0: 0.5}, {}, {"mIoU": 0.5}, {}, None) for name in "ab")
SUMMARY = Summary("a sweep", (0,), "val", "a", 1, 0.95, "", ROWS)


@pytest.mark.parametrize("failures", [{}, {"runs/b": "exit code 3"}])
def test_prints_the_table_also_of_a_sweep_whose_runs_failed(
    failures, tmp_path, monkeypatch, capsys
):
    calls = []

    def run(sweep, work_dir, executor, **options):
        calls.append((sweep.title, work_dir, executor.devices, options["seeds"]))
        return Outcome(SUMMARY, 2, failures)

    monkeypatch.setattr(runner, "run", run)
    options = ["--work-dir", str(tmp_path), "--seeds", "0", "7", "--devices", "cpu:2"]
    code = main(["ablate", "dpn_windows_scenes", *options])
    ((title, work_dir, devices, seeds),) = calls
    assert (work_dir, devices, seeds) == (tmp_path, "cpu:2", (0, 7)) and title
    printed = capsys.readouterr()
    assert "a sweep" in printed.out and "50.0" in printed.out
    assert f"written: {tmp_path / 'ablation.md'}" in printed.out
    assert code == (2 if failures else 0)
    if failures:
        assert "1 of 2 runs failed. runs/b: exit code 3" in printed.err


def test_no_process_takes_all_memory_of_the_gpu(tmp_path, monkeypatch):
    """The runs' processes train on the GPU on which this one scores."""
    for name in ablate._MEMORY_ON_DEMAND:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(runner, "run", lambda *args, **options: Outcome(SUMMARY, 2, {}))
    assert main(["ablate", "dpn_windows_scenes", "--work-dir", str(tmp_path)]) == 0
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_a_sweep_of_the_users_own(tmp_path, monkeypatch, capsys):
    rows = []

    def run(sweep, *_, **__):
        rows.extend((row.name, row.config.seed) for row in sweep.rows)
        return Outcome(SUMMARY, 1, {})

    monkeypatch.setattr(runner, "run", run)
    path = tmp_path / "mine.json"
    path.write_text('{"recipe": "dpn/scenes", "rows": [{"name": "a"}, {"name": "b"}]}')
    options = ["--work-dir", str(tmp_path), "--override", "seed=5"]
    assert main(["ablate", str(path), *options]) == 0
    assert rows == [("a", 5), ("b", 5)]
    assert main(["ablate", "dpn_windows", *options]) == 2
    error = capsys.readouterr().err
    assert "dpn_windows: expected a file *.json, or one of the sweeps dpn_stages_" in error
