"""The command `keras-dpn`: its subcommands, and how each of them starts and ends.

Importing this module, or one of a subcommand, imports neither Keras nor TensorFlow, so that
`--help` answers at once: what a subcommand needs is imported in its `main`.
"""

import difflib
import importlib
import io
import logging
import os
import runpy
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ..utils.installation import install_command

PROGRAM = "keras-dpn"
GROUPS = ("Data", "Train", "Evaluate", "Use")


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Args:
        summary: a line for the help.
        group: one of `GROUPS`.
        extras: those of the package that it needs.
    """

    summary: str
    group: str
    extras: str = "train,cpu"


COMMANDS = {
    "check-data": Command("read a whole dataset and report every issue at once", "Data"),
    "browse": Command("show augmented training images next to their labels", "Data"),
    "pack": Command("pack a dataset into TFRecord shards", "Data"),
    "generate": Command("write a generated dataset as files", "Data"),
    "recipes": Command("list the recipes, or explain one", "Train"),
    "train": Command("train a network through its stages", "Train"),
    "ablate": Command("train the rows of a sweep and compare them", "Train"),
    "evaluate": Command("score trained networks on a split of a dataset", "Evaluate"),
    "compare": Command("say which differences between evaluations are significant", "Evaluate"),
    "report": Command("write an HTML page about runs or a sweep", "Evaluate"),
    "crf-search": Command("search the settings of a fully connected CRF", "Evaluate"),
    "receptive-field": Command("measure what a unit of a network sees", "Evaluate"),
    "predict": Command("label images and videos", "Use"),
    "submit": Command("write the archive that an evaluation server takes", "Use"),
    "preset": Command("make a preset of a finished run", "Use"),
    "export": Command("export to a SavedModel, LiteRT or ONNX", "Use"),
    "demo": Command("label what is dropped on a web page", "Use", "train,demo,cpu"),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the subcommand that the command line names, and return its exit code.

    0 after success, 2 after a mistake of the user's, which is one line on stderr, 130 after Ctrl-C.
    """
    args = list(sys.argv[1:] if args is None else args)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
    try:
        if not args or args[0] in ("-h", "--help"):
            print(usage())
            return 0
        if args[0] == "--version":
            print(PROGRAM, version())
            return 0
        name, *rest = args
        if name not in COMMANDS:
            return _fail(f"{PROGRAM}: no command {name!r}{nearest(name, COMMANDS)}")
        return guarded(lambda: _run(name, rest), name)
    except BrokenPipeError:
        return _without_reader()


def version() -> str:
    """Return the version from its file: importing keras_dpn would import the backend."""
    file = Path(__file__).parents[2] / "keras_dpn" / "version.py"
    return runpy.run_path(str(file))["__version__"]


def usage() -> str:
    """Return the help of the command itself."""
    lines = ["Train, evaluate and use segmentation networks that end in a Markov random field.", ""]
    lines += [f"usage: {PROGRAM} COMMAND [OPTIONS]", ""]
    for group in GROUPS:
        lines.append(f"{group}:")
        for name, command in COMMANDS.items():
            if command.group == group:
                lines.append(f"  {name:<16} {command.summary}")
        lines.append("")
    lines.append(f"{PROGRAM} COMMAND --help lists a command's options.")
    lines.append(f"{PROGRAM} --version prints the version.")
    lines.append("With every command: --quiet shows only warnings, --verbose also details.")
    return "\n".join(lines)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the one that was probably meant."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(known)}."


def run(function: Callable[..., int | None], args: Sequence[str], program: str) -> int | None:
    """Let tyro read a command line into the arguments of a function, and call it."""
    import tyro

    from .help_text import joined_lines

    description = (sys.modules[function.__module__].__doc__ or "").strip()
    with joined_lines():
        return tyro.cli(function, args=args, prog=program, description=description)


def guarded(function: Callable[[], int | None], name: str) -> int:
    """Run a subcommand's function; return its exit code, 2 after a mistake, 130 after Ctrl-C."""
    try:
        return function() or 0
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("keras_dpn", __name__.partition(".")[0]):
            raise
        extras = COMMANDS[name].extras
        return _fail(f"{PROGRAM} {name} needs {error.name}: {install_command(extras)}")
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        return _fail(f"error: {' '.join(str(error).split())}")
    except Exception as error:
        # TensorFlow's has no type here, as most commands don't need it.
        if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":
            raise
        lines = str(error).splitlines() or ["the memory isn't sufficient"]
        return _fail(f"error: {type(error).__name__}: {lines[0][:500]}")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _without_reader() -> int:
    """End quietly where nobody reads on, as in `keras-dpn --help | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _run(name: str, args: list[str]) -> int | None:
    from .deprecated import replace_deprecated

    args, level = _split_verbosity(args)
    _start_logging(level)
    module = importlib.import_module(f".{name.replace('-', '_')}", __name__)
    args = replace_deprecated(name, args)
    if hasattr(module, "parse"):  # whose options depend on its first argument
        return module.parse(args)
    return run(module.main, args, f"{PROGRAM} {name}")


def _split_verbosity(args: list[str]) -> tuple[list[str], int]:
    """Take --quiet and --verbose out of a command line; return the rest and the log level."""
    levels = {"--quiet": logging.WARNING, "--verbose": logging.DEBUG}
    chosen = [levels[arg] for arg in args if arg in levels]
    return [arg for arg in args if arg not in levels], chosen[-1] if chosen else logging.INFO


def _start_logging(level: int) -> None:
    """Show the messages of the library and of the command on stderr."""
    logger = logging.getLogger("keras_dpn")
    for handler in list(logger.handlers):
        if isinstance(handler, _MessageHandler):  # of an earlier call, with its stderr
            logger.removeHandler(handler)
    handler = _MessageHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(level)


class _MessageHandler(logging.StreamHandler[TextIO]):
    """Writes messages to stderr."""


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 2
