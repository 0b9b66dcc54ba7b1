"""The backend that Keras will run on, before Keras is imported."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

# Keras's backends that the library runs on.
BACKENDS = ("tensorflow", "jax", "torch")
_ADVICE = (
    "Install keras-dpn with an extra: [cpu] or [gpu] for TensorFlow, [jax], or [torch]; for "
    "example pip install '.[cpu]' in the directory of the source code."
)


def choose_backend() -> str | None:
    """Let Keras run on the backend that is installed, unless the user has chosen one.

    Keras itself runs on TensorFlow, installed or not, unless the environment variable
    `KERAS_BACKEND` or the file `~/.keras/keras.json` names another backend. Such a choice stays.
    "tensorflow" in the file is none: Keras writes it there by itself when it is first imported.

    Returns:
        None if Keras can be imported, else what is missing and how to install it.
    """
    if sys.modules.get("keras"):
        return None
    if not is_installed("keras"):
        return f"keras_dpn found no Keras. {_ADVICE}"
    chosen = os.environ.get("KERAS_BACKEND") or _configured_backend()
    installed = [name for name in BACKENDS if is_installed(name)]
    if chosen is not None:
        if chosen in installed or chosen not in BACKENDS:
            return None
        return (
            f"keras_dpn found no {chosen}, the backend that KERAS_BACKEND or ~/.keras/keras.json "
            f"names. {_ADVICE}"
        )
    if not installed:
        return f"keras_dpn found no backend of Keras. {_ADVICE}"
    if "tensorflow" not in installed:
        if len(installed) > 1:
            return (
                f"keras_dpn found the backends {' and '.join(installed)} of Keras, and no choice. "
                f"Set the environment variable KERAS_BACKEND to {' or '.join(installed)}."
            )
        os.environ["KERAS_BACKEND"] = installed[0]  # Keras reads it when it is imported
    return None


def is_installed(name: str) -> bool:
    """Return whether a package can be imported; a mere directory of its name can't."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def _configured_backend() -> str | None:
    """Return the backend that Keras's file names, None for TensorFlow or without a file."""
    home = os.path.expanduser("~")
    home = home if os.access(home, os.W_OK) else "/tmp"  # as Keras does
    path = Path(os.environ.get("KERAS_HOME") or os.path.join(home, ".keras"), "keras.json")
    try:
        backend = json.loads(path.expanduser().read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return None if backend == "tensorflow" else backend
