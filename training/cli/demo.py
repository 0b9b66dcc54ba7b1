"""A web page on which one drops a picture or a video and looks at its labels.

python -m training.demo [MODEL]

Then open http://127.0.0.1:7860. MODEL is a preset, the directory of a training run, or an exported
model, as saved_models/scenes, whose slider between the stages is there if it was exported with
`--outputs stages`. Needs gradio (`pip install '.[demo]'`).
"""

from pathlib import Path

from tyro.conf import Positional

from ..demo.app import DEFAULT, MAX_PIXELS


def main(
    model: Positional[str] = DEFAULT,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    examples: Path | None = None,
    max_megabytes: float = 20,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Shows a model's labels on a web page, until Ctrl-C.

    Args:
        model: a preset, the directory of a training run, or an exported model, saved_models/NAME
            or one of its versions.
        host: address to listen on; 0.0.0.0 lets other machines in, whoever they are.
        port: where to listen; 0 for any that is free.
        examples: folder of pictures to pick from; generated scenes by default, if the model's
            classes are theirs.
        max_megabytes: larger files are refused.
        max_pixels: larger pictures are shrunk to so many.
    """
    import threading

    from ..demo.app import serving

    with serving(model, host, port, examples, max_megabytes, max_pixels) as address:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
