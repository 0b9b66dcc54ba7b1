from concurrent.futures import ThreadPoolExecutor

from tests.training.data.sets.trees import write_voc
from training.cli import main
from training.data.registry import load_dataset
from training.data.shards import writer


def test_packs_a_dataset(tmp_path, capsys, monkeypatch):
    def in_threads(workers, context, initializer, arguments):  # processes take seconds to start
        return ThreadPoolExecutor(workers, "", initializer, arguments)

    monkeypatch.setattr(writer, "ProcessPoolExecutor", in_threads)
    write_voc(tmp_path / "voc")
    out = tmp_path / "shards"
    args = ["pack", "voc", "--data-dir", tmp_path / "voc", "--out", out]
    args += ["--examples-per-shard", "3", "--processes", "2"]
    assert main(list(map(str, args))) == 0
    assert f"{out}: 7 examples in 3 shards" in capsys.readouterr().out
    assert len(load_dataset("shards", out).examples("val")) == 2
