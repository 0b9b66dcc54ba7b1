"""Serve a web page that labels an image or a video dropped on it.

    keras-dpn demo
    keras-dpn demo runs/mine --port 8000

Then open http://127.0.0.1:7860. The model may be an exported one too; the page has a slider over
its heads if it was exported with `--outputs stages`.
"""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from ..demo import DEFAULT, MAX_PIXELS


def main(
    model: Annotated[Positional[str], tyro.conf.arg(metavar="[MODEL]")] = DEFAULT,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    examples: Path | None = None,
    max_megabytes: float = 20,
    max_pixels: int = MAX_PIXELS,
    allow_host: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
) -> None:
    """Serve a web page that labels images and videos, until Ctrl-C or SIGTERM.

    Args:
        model: a preset, the directory of a training run, or an exported model, saved_models/NAME
            or one of its versions.
        host: address to listen on; 0.0.0.0 admits every machine that reaches this one.
        port: port to listen on; 0 for any free one.
        examples: folder of images to choose from; by default generated scenes, if the model knows
            their classes.
        max_megabytes: larger files are refused, in MiB.
        max_pixels: larger images are downsampled to at most N pixels.
        allow_host: a name by which browsers reach this machine, next to localhost, its own name and
            its IP addresses; may be repeated. Requests for other names are refused.
    """
    import queue
    import signal
    import sys

    from ..demo.app import serving

    # By default SIGTERM, with which services are ended, would leave the temporary directory; an
    # error that a handler raises may be lost, if it comes within a callback.
    ends: queue.SimpleQueue[int] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda number, _: ends.put(number))
    with serving(model, host, port, examples, max_megabytes, max_pixels, allow_host) as address:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        sys.exit(128 + ends.get())
