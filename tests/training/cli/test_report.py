import pytest

from training.cli import main
from training.data.generated.scenes import ScenesDataset
from training.reporting.page import is_page


@pytest.mark.usefixtures("eager")
def test_prints_the_path_of_the_page(finished_run, capsys, tmp_path, monkeypatch):
    size = {"train": 3, "val": 3, "test": 3}
    monkeypatch.setattr(
        "training.rundir.dataset.load_dataset",
        lambda name, *args, **options: ScenesDataset(size, size=(48, 64)),
    )
    out = tmp_path / "page.html"
    assert main(["report", str(finished_run), "--num-images", "0", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out and out.is_file()


def test_needs_a_run(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert f"{tmp_path}: no training run, there is no config.json" in capsys.readouterr().err


def test_only_a_report_is_replaced(finished_run, tmp_path, capsys):
    (out := tmp_path / "page.html").write_text("<p>precious</p>")
    assert main(["report", str(finished_run), "--num-images", "0", "--out", str(out)]) == 2
    assert "page.html: would be replaced" in capsys.readouterr().err
    assert out.read_text() == "<p>precious</p>"
    out.write_text('<meta name="generator" content="keras-dpn report">')
    assert is_page(out)
