"""A web page that segments an image or a video dropped on it."""

import html
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from keras_dpn.io import IMAGE_SUFFIXES, VIDEO_SUFFIXES

from ..utils.installation import install_command
from . import MAX_PIXELS
from .examples import DemoExample, find_examples
from .hosts import HostCheck
from .inference import MAX_DECODED_PIXELS, FilePredictor
from .served_model import Model, open_model
from .uploads import UploadLimit, Uploads
from .viewer import message, viewer

if TYPE_CHECKING:
    import gradio

# Files that wait to be labelled, one after another; more visitors are asked to try again.
MAX_QUEUE = 20
# Of an upload: the form around the file.
_FORM_BYTES = 2**16

EXPLANATION = (
    "Each pixel of an image gets a class. Point at one to see its class and confidence; "
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
    allowed_hosts: Sequence[str] = (),
) -> Iterator[str]:
    """Serve the page as long as the context lasts, and yield its address.

    All files that it writes are in one temporary directory, which is removed at the end. Nothing
    outside of it is removed, and visitors can have no other files labelled than what they upload
    and the examples. The uploads are limited in number, bytes and age, see `uploads`.

    Args:
        model: a preset, the directory of a training run, or an exported model.
        host: address to listen on.
        port: where to listen; 0 for any that is free.
        examples: folder of images to choose from; None: generated scenes, if the model has their
            classes.
        max_megabytes: larger files are refused.
        max_pixels: larger images are downsampled to at most N pixels.
        allowed_hosts: names by which browsers reach this machine, see `HostCheck`.
    """
    _check("port", port, 0, 65535)
    _check("max-megabytes", max_megabytes, 0.001, 4096)
    _check("max-pixels", max_pixels, 1, MAX_DECODED_PIXELS)
    with tempfile.TemporaryDirectory(prefix="keras-dpn-demo-") as temporary:
        scratch = Path(temporary).resolve()
        network = open_model(model)
        choices = find_examples(network.classes, examples, scratch / "shown" / "examples")
        predictor = FilePredictor(network, scratch / "shown" / "videos", max_pixels)
        gradio = _gradio(scratch / "gradio")
        gradio.set_static_paths([scratch / "shown"])  # all that is served, with copies of examples
        uploads = Uploads(scratch / "gradio")
        page = make_page(predictor, choices, _name(Path(model)), uploads)
        max_bytes = round(max_megabytes * 2**20)
        limit = (UploadLimit, (), {"uploads": uploads, "max_bytes": max_bytes + _FORM_BYTES})
        hosts = (HostCheck, (), {"allowed": allowed_hosts})
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            max_file_size=max_bytes,
            app_kwargs={"middleware": [hosts, limit]},
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


def _gradio(folder: Path) -> ModuleType:
    """Import gradio so that it keeps its files in a folder and makes no requests."""
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    try:
        import gradio
    except ModuleNotFoundError as error:
        needed = install_command("train,demo,cpu")
        raise ValueError(f"The demo needs gradio: {needed} ({error}).") from None
    return gradio


def make_page(
    predictor: FilePredictor, examples: Sequence[DemoExample], name: str, uploads: Uploads
) -> "gradio.Blocks":
    """Return the page: an area to drop files on, examples, and the viewer.

    Args:
        predictor: predicts the files.
        examples: to choose from.
        name: the model's.
        uploads: the files that visitors upload.
    """
    import gradio

    with gradio.Blocks(title=name, analytics_enabled=False, fill_width=True) as page:
        gradio.Markdown(f"# {name}\n{EXPLANATION}\n\n{_describe(predictor.model)}")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                dropped = gradio.File(
                    label="An image or a short video",
                    file_types=["image", "video", *sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES)],
                    height=150,
                    elem_id="drop",
                )
                gallery = gradio.Gallery(
                    [(str(example.thumbnail), example.title) for example in examples],
                    label="Examples",
                    show_label=False,
                    container=False,
                    columns=3,
                    height="auto",
                    object_fit="cover",
                    allow_preview=False,
                    buttons=[],
                    visible=bool(examples),
                    elem_id="examples",
                )
            with gradio.Column(scale=3, min_width=320):
                shown = viewer(
                    predictor.model.classes,
                    predictor.model.heads,
                    predictor.read_frame,
                    f"Drop an image or a short video{', or pick an example' if examples else ''}.",
                )
                video = gradio.Video(
                    label="The labelled video", show_label=False, visible=False, elem_id="video"
                )

        def predict(path: Path, progress: gradio.Progress) -> tuple[dict[str, Any], gradio.Video]:
            result = predictor.predict(path, lambda done, text: progress(done, desc=text))
            return result.value, gradio.Video(result.video, visible=result.video is not None)

        def on_file(file: str, progress: gradio.Progress = gradio.Progress()) -> tuple[Any, ...]:  # noqa: B008
            # A request may name any file that the page serves, such as an example.
            if not uploads.owns(Path(file)):
                return None, message("This file is no upload."), gradio.Video(None, visible=False)
            try:
                return None, *predict(Path(file), progress)
            finally:
                uploads.remove(Path(file))

        def on_example(
            event: gradio.SelectData,
            progress: gradio.Progress = gradio.Progress(),  # noqa: B008
        ) -> tuple[dict[str, Any], gradio.Video]:
            return predict(examples[event.index].file, progress)

        # The dropped file is cleared from the area, for the next one.
        dropped.upload(on_file, dropped, [dropped, shown, video], api_visibility="private")
        gallery.select(on_example, None, [shown, video], api_visibility="private")
    return page.queue(max_size=MAX_QUEUE)


def _describe(model: Model) -> str:
    """Return a description of the model and its classes."""
    about = f"{html.escape(model.description)}. " if model.description else ""
    names = ", ".join(html.escape(name) for name in model.classes.names)
    return f"{about}It has {len(model.classes.names)} classes: {names}."


def _name(model: Path) -> str:
    """Return the directory's name; of a version, that of its parent."""
    path = model.resolve()
    return path.parent.name if path.name.isdecimal() else path.name
