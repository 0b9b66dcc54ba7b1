"""How the command starts and ends."""

import json
import logging
import subprocess
import sys

import pytest

from keras_dpn.version import __version__
from training import cli
from training.cli import COMMANDS, GROUPS, guarded, main, run
from training.configs.recipes import RECIPES

HEAVY = {"tensorflow", "keras", "keras_dpn", "cv2", "matplotlib", "jax", "torch", "gradio", "ray"}
# Prints the CPU time and the modules that a command line takes until it exits.
MEASURE = """
import json, sys, time
from training.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
found = [time.process_time(), sorted(name.partition(".")[0] for name in sys.modules)]
print("\\n" + json.dumps(found))
"""


def measured(*args):
    """The output, CPU seconds and top-level modules of a command line; the least time of three."""
    command = [sys.executable, "-c", MEASURE, *args]
    tries = []
    for _ in range(3):
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        text, _, last = result.stdout.rstrip("\n").rpartition("\n")
        seconds, modules = json.loads(last)
        tries.append(seconds)
    return text, min(tries), set(modules)


def test_help_lists_every_command_in_its_group_and_imports_nothing():
    text, seconds, modules = measured("--help")
    for name, command in COMMANDS.items():
        assert f"  {name} " in text and command.summary in text
    assert all(f"{group}:\n" in text for group in GROUPS)
    assert seconds < 0.3
    assert not modules & {*HEAVY, "tyro", "rich", "numpy"}


def test_the_version_imports_nothing():
    text, seconds, modules = measured("--version")
    assert text.rstrip() == f"keras-dpn {__version__}"
    assert not modules & {*HEAVY, "tyro", "rich", "numpy"}
    assert seconds < 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_no_backend(name):
    text, seconds, modules = measured(name, "--help")
    assert f"keras-dpn {name}" in text
    assert not modules & HEAVY
    assert seconds < 1


def test_help_of_a_recipe_explains_every_field():
    text, seconds, modules = measured("train", next(iter(RECIPES)), "--help")
    assert "--work-dir" in text and "--data.batch-size" in text
    assert not modules & HEAVY
    assert seconds < 1


def test_an_unknown_command_gets_the_nearest_name(capsys):
    assert main(["evalute"]) == 2
    assert capsys.readouterr().err == "keras-dpn: no command 'evalute'; did you mean 'evaluate'?\n"


def test_an_unknown_recipe_gets_the_nearest_name(capsys):
    name = next(iter(RECIPES))
    assert main(["train", name[:-1], "--work-dir", "nowhere"]) == 2
    assert f"did you mean {name}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("`window`:\n  expected 1"), 2, "error: `window`: expected 1\n"),
        (OSError(28, "No space left"), 2, "error: [Errno 28] No space left\n"),
        (MemoryError(), 2, "error: MemoryError: the memory isn't sufficient\n"),
        (
            type("ResourceExhaustedError", (Exception,), {})("OOM with shape[9]\n\nmore"),
            2,
            "error: ResourceExhaustedError: OOM with shape[9]\n",
        ),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (
            ModuleNotFoundError("No module named 'gradio'", name="gradio"),
            2,
            "keras-dpn demo needs gradio: pip install '.[train,demo,cpu]' in the directory of the "
            "source code, or 'WHEEL[train,demo,cpu]'\n",
        ),
    ],
)
def test_mistakes_become_one_line(error, code, text, capsys):
    def fail():
        raise error

    assert guarded(fail, "demo") == code
    assert capsys.readouterr().err == text


def test_names_that_are_no_text_are_printed(monkeypatch, capsys):
    monkeypatch.setattr(cli, "_run", lambda name, args: print("\udcff.mp4"))
    assert cli.main(["predict"]) == 0
    assert capsys.readouterr().out == "\\udcff.mp4\n"


def test_a_missing_module_of_our_own_is_no_missing_extra():
    def fail():
        raise ModuleNotFoundError("No module named 'training.nothing'", name="training.nothing")

    with pytest.raises(ModuleNotFoundError):
        guarded(fail, "demo")


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0, "demo")


def test_run_reads_arguments_into_a_function():
    def function(count: int) -> int:
        return count

    assert run(function, ["--count", "3"], "program") == 3
    with pytest.raises(SystemExit) as stopped:
        run(function, ["--cuont", "3"], "program")
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("options", "expected"), [([], "told\n"), (["--quiet"], ""), (["--verbose"], "detail\ntold\n")]
)
def test_progress_goes_to_stderr_as_much_as_is_wanted(options, expected, monkeypatch, capsys):
    def report(*_):
        logging.getLogger("keras_dpn.part").debug("detail")
        logging.getLogger("keras_dpn.part").info("told")
        print("result")

    monkeypatch.setattr(cli, "run", report)
    assert main(["compare", "a", "b", *options]) == 0
    out, err = capsys.readouterr()
    assert out == "result\n" and err == expected


def test_a_pipe_that_closes_is_no_error():
    command = f"{sys.executable} -m training --help | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.stderr == "" and result.stdout.startswith("Train,")
