"""Models from files of any origin, and their weights as the bytes of a file."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

_LONGEST = 300  # characters of Keras's message


def load_model(path: str | Path) -> keras.Model:
    """Load a model from a `.keras` file, which can't run code.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds another object than a model, or one that doesn't fit
            into memory.
    """
    with reading_model(path):
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        if not isinstance(model, keras.Model):
            raise TypeError(f"received a {type(model).__name__}")
    return model


def weights_bytes(model: keras.Model) -> bytes:
    """Return the content of a `.weights.h5` file, written in memory.

    HDF5 ends the process with a segmentation fault where it can't write to a disk that is full.
    """
    content = _WeightsFile()
    model.save_weights(content)
    return content.getvalue()


class _WeightsFile(io.BytesIO):
    def __str__(self) -> str:
        return "model.weights.h5"  # Keras knows the format by the end of the name


@contextmanager
def reading_model(path: str | Path) -> Iterator[None]:
    """Turn the errors of Keras within a block into a ValueError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # of many types, which depend on where the file is wrong
        lines = str(error).strip().splitlines() or [""]
        raise ValueError(
            f"{path}: expected the file of an undamaged Keras model, received another "
            f"({type(error).__name__}: {lines[0][:_LONGEST]})."
        ) from error
