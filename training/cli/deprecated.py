"""Options of version 0.1 that have other names now: they work in 0.2 with a notice."""

import logging
import re

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
# Fields of a configuration, which are options of `train`: pattern and replacement.
RENAMED_FIELDS: tuple[tuple[str, str], ...] = ()


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
        new = renamed.get(plain) or (_renamed_field(plain) if command == "train" else None)
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


def _renamed_field(option: str) -> str | None:
    if not option.startswith("--"):
        return None
    for pattern, replacement in RENAMED_FIELDS:
        new = re.sub(pattern, replacement, option)
        if new != option:
            return new
    return None
