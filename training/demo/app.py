"""A web page that labels an image or a video dropped on it."""

import html
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import MAX_PIXELS
from .examples import Sample, samples
from .inference import DECODABLE, Labeller
from .served_model import Model, open_model
from .viewer import viewer

if TYPE_CHECKING:
    import gradio

EXPLANATION = (
    "Each pixel of a picture gets a class. Point at one to see which, and how sure the model is; "
    "move the slider to see what each part of the network adds."
)
STYLE = """
footer { display: none !important; }
.gradio-container { width: 100% !important; max-width: 1320px !important; }
.gradio-container { margin: 0 auto !important; }
#viewer, #viewer > div { padding: 0 !important; }
#examples .grid-wrap { max-height: none; min-height: 0; padding: 0; overflow: visible; }
#examples .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); }
"""


@contextmanager
def serving(
    model: str,
    host: str = "127.0.0.1",
    port: int = 0,
    examples: Path | None = None,
    max_megabytes: float = 20,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[str]:
    """Serves the page as long as the context lasts, and gives its address. Arguments as in `main`.

    All that it writes lies in one temporary directory, which is removed at the end.
    """
    _check("port", port, 0, 65535)
    _check("max-megabytes", max_megabytes, 0.001, 4096)
    _check("max-pixels", max_pixels, 1, DECODABLE)
    with tempfile.TemporaryDirectory(prefix="keras-dpn-demo-") as temporary:
        scratch = Path(temporary).resolve()
        network = open_model(model)
        offered = samples(network.classes, examples, scratch / "shown" / "examples")
        labeller = Labeller(network, scratch / "shown" / "films", max_pixels)
        gradio = _gradio(scratch / "gradio")
        # Served from where they lie, and nothing else of the folder of examples.
        gradio.set_static_paths([scratch / "shown", *(sample.still for sample in offered)])
        page = make_page(labeller, offered, _name(Path(model)))
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            max_file_size=round(max_megabytes * 2**20),
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            inbrowser=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            css=STYLE,
            theme=gradio.themes.Default(
                primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"]
            ),
        )
        try:
            yield address
        finally:
            page.close(verbose=False)


def _check(option: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"--{option}: expected {least} to {most}, received {value}.")


def _gradio(folder: Path):
    """The module, told to keep its files in a folder and to call nobody."""
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise ValueError(f"The demo needs gradio: pip install '.[demo]' ({error}).") from None
    return gradio


def make_page(labeller: Labeller, offered: Sequence[Sample], name: str) -> "gradio.Blocks":
    """The page: a place to drop files, examples, and the viewer.

    Args:
        labeller: labels what is dropped.
        offered: examples.
        name: the model's.
    """
    import gradio

    with gradio.Blocks(title=name, analytics_enabled=False, fill_width=True) as page:
        gradio.Markdown(f"# {name}\n{EXPLANATION}\n\n{_knowledge(labeller.model)}")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                dropped = gradio.File(
                    label="A picture or a short video",
                    file_types=["image", "video"],
                    height=150,
                    elem_id="drop",
                )
                gallery = gradio.Gallery(
                    [(str(sample.still), sample.title) for sample in offered],
                    label="Examples",
                    show_label=False,
                    container=False,
                    columns=3,
                    height="auto",
                    object_fit="cover",
                    allow_preview=False,
                    buttons=[],
                    visible=bool(offered),
                    elem_id="examples",
                )
            with gradio.Column(scale=3, min_width=320):
                shown = viewer(labeller.model.classes, labeller.model.stages, labeller.frame_of)
                film = gradio.Video(
                    label="The labelled film", show_label=False, visible=False, elem_id="film"
                )

        def answers(path: Path, progress: gradio.Progress):
            found = labeller.label(path, lambda done, text: progress(done, desc=text))
            return found.value, gradio.Video(found.film, visible=found.film is not None)

        def on_file(file: str, progress=gradio.Progress()):  # noqa: B008  gradio's way
            try:
                return None, *answers(Path(file), progress)
            finally:
                Path(file).unlink(missing_ok=True)

        def on_example(event: gradio.SelectData, progress=gradio.Progress()):  # noqa: B008
            return answers(offered[event.index].file, progress)

        # What was dropped goes from the place where the next file is dropped.
        dropped.upload(on_file, dropped, [dropped, shown, film], api_visibility="private")
        gallery.select(on_example, None, [shown, film], api_visibility="private")
    return page


def _knowledge(model: Model) -> str:
    """What the model labels and which classes it knows."""
    about = f"{html.escape(model.description)}. " if model.description else ""
    names = ", ".join(html.escape(name) for name in model.classes.names)
    return f"{about}It knows {len(model.classes.names)} classes: {names}."


def _name(model: Path) -> str:
    """What a user calls a model: the directory's name, of a version that of the one around it."""
    path = model.resolve()
    return path.parent.name if path.name.isdecimal() else path.name


def _end(*_) -> None:
    """Ends as by Ctrl-C, so that nothing is left behind."""
    sys.exit(0)
