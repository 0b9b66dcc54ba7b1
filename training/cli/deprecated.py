"""Options of version 0.1 that have other names now: they work in 0.2, with a notice."""

import logging
from collections.abc import Mapping, Sequence

_LOGGER = logging.getLogger("keras_dpn")

POSITIONAL = "(RUN without an option)"
_INFERENCE = {"--mirror": "--horizontal-flip", "--memory": "--memory-gib"}
# By command: the old option and the new one; an option whose value is now given without it.
RENAMED: dict[str, dict[str, str]] = {
    "evaluate": {
        **_INFERENCE,
        "--work-dir": POSITIONAL,
        "--stages": "--heads",
        "--each-stage": "--per-stage",
        "--trimap-around": "--trimap-boundary",
    },
    "submit": {**_INFERENCE, "--work-dir": POSITIONAL},
    "predict": {
        **_INFERENCE,
        "--work-dir": "--model",
        "--stages": "--heads",
        "--frames": "--save-frames",
        "--as-video": "--image-sequence",
    },
    "compare": {
        "--block": "--block-size",
        "--samples": "--resamples",
        "--changed": "--num-images",
    },
    "report": {"--examples": "--num-images", "--block": "--block-size"},
    "crf-search": {"--work-dir": POSITIONAL, "--images": "--num-images"},
    "ablate": {"--trained": "--reuse", "--block": "--block-size"},
    "preset": {"--work-dir": POSITIONAL},
    "export": {
        "--work-dir": "--model",
        "--check": "--verify-with",
        "--representative": "--calibration-images",
        "--keep": "--keep-versions",
    },
    "browse": {"--mirror": "--horizontal-flip"},
    "generate": {"--count": "--num-images"},
}


def replace_deprecated(command: str, args: list[str]) -> list[str]:
    """Return a command line with today's options in place of those of version 0.1.

    Each replacement is logged as a warning. `--work-dir RUN`, where a run is now named without an
    option, is moved to the front, as options may take any number of values.
    """
    renamed, runs, rest = RENAMED.get(command, {}), [], []
    arguments = iter(args)
    for argument in arguments:
        option, equals, value = argument.partition("=")
        option = _with_dashes(option)
        negated = option.startswith("--no-")
        plain = "--" + option.removeprefix("--no-") if negated else option
        new = renamed.get(plain)
        if new is None:
            rest.append(argument)
            continue
        _LOGGER.warning("%s is deprecated: use %s", plain, new)
        if new == POSITIONAL:
            run = value if equals else next(arguments, None)
            runs += [] if run is None else [run]
        else:
            rest.append((new.replace("--", "--no-", 1) if negated else new) + equals + value)
    return [*runs, *rest]


def _with_dashes(option: str) -> str:
    """Return an option as the help shows it; tyro takes underscores too."""
    return option.replace("_", "-") if option.startswith("--") else option


def replace_fields(args: Sequence[str], fields: Mapping[str, str]) -> list[str]:
    """Return a command line of `train` with today's fields in place of those of version 0.1.

    Args:
        args: the options; a field is `--model.local-conv.window 9`, or, of a switch that is turned
            off, `--model.local-conv.no-gate`.
        fields: the old dotted field and the new one.
    """
    options = {}
    for old, new in fields.items():
        options[_option(old)] = _option(new)
        options[_option(_off(old))] = _option(_off(new))
    replaced = []
    for argument in args:
        option, equals, value = argument.partition("=")
        today = options.get(_with_dashes(option))
        if today is not None:
            _LOGGER.warning("%s is deprecated: use %s", option, today)
        replaced.append(argument if today is None else today + equals + value)
    return replaced


def _option(field: str) -> str:
    return _with_dashes(f"--{field}")


def _off(field: str) -> str:
    """Return the dotted name that turns a switch off."""
    group, _, name = field.rpartition(".")
    return f"{group}.no_{name}"
