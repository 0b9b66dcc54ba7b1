from pathlib import Path

from training.reporting.rendering import render
from training.reporting.runs import Run
from training.reporting.sections import settings
from training.reporting.sections.settings import Settings


class Context:
    def __init__(self, run):
        self.run = run


def make_run(config, versions=None, title="x"):
    return Run(Path("runs/<x>"), title, config, versions or {}, 0, ())


def test_settings_that_differ():
    runs = [make_run({"model": {"width": 1}, "seed": seed}, title=f"<{seed}>") for seed in (1, 2)]
    runs[1] = make_run(runs[1].config, {"keras": "<3"}, runs[1].title)
    table = settings.differences(runs)
    assert table.head == ["", "<1>", "<2>"]
    rows = {row.name: row.cells for row in table.groups[0]}
    assert rows == {"seed": ["1", "2"], "keras": ["–", "<3"]}
    text = render("differences", table=table, is_folded=False)
    assert "<th>&lt;1&gt;</th><th>&lt;2&gt;</th>" in text and "<td>&lt;3</td>" in text
    assert settings.differences([runs[0], runs[0]]) is None
    assert "<p>None.</p>" in render("differences", table=None, is_folded=True)


def test_settings_carry_dotted_names():
    run = make_run({"model": {"width": 0.5}, "seed": 1}, {"k": "<3"})
    assert settings.settings(run) == {"model.width": "0.5", "seed": "1", "k": "<3"}
    text = Settings().render(Context(run))
    assert "<th>model.width</th><td>0.5</td>" in text and "<td>&lt;3</td>" in text
    assert "keras-dpn train runs/&lt;x&gt;/config.json --work-dir NEW" in text


def test_settings_leave_out_stages_without_epochs():
    stages = {"joint": {"epochs": 2, "power": 0.9}, "finish": {"epochs": 0, "power": 0.5}}
    text = Settings().render(Context(make_run(stages | {"validation_epochs": 1})))
    assert "<th>joint.power</th><td>0.9</td>" in text and "All 3 settings" in text
    assert "finish" not in text
