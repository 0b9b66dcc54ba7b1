"""Links from code to what it names: this library's objects, and those of other projects."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*")
# Pages of keras.io below api/, by the public name after "keras.".
KERAS = {
    "Model": "models/model/#model-class",
    "Layer": "layers/base_layer/#layer-class",
    "Loss": "losses/#base-loss-api",
    "Input": "layers/core_layers/input/#input-function",
    "KerasTensor": "models/model/",
    "layers.Dropout": "layers/regularization_layers/dropout/",
    "layers.BatchNormalization": "layers/normalization_layers/batch_normalization/",
    "layers.Resizing": "layers/preprocessing_layers/image_preprocessing/resizing/",
    "layers.Conv2D": "layers/convolution_layers/convolution2d/",
    "saving.load_model": "models/model_saving_apis/model_saving_and_loading/",
}
PYTHON = {
    "pathlib.Path": "pathlib.html#pathlib.Path",
    **{
        f"collections.abc.{name}": f"collections.abc.html#collections.abc.{name}"
        for name in ("Callable", "Collection", "Iterable", "Iterator", "Mapping", "Sequence")
    },
    **{f"typing.{name}": f"typing.html#typing.{name}" for name in ("Any", "Literal", "Self")},
    **{name: f"functions.html#{name}" for name in ("property", "object")},
    **{name: f"functions.html#func-{name}" for name in ("str", "dict", "list", "tuple", "set")},
    **{name: f"functions.html#{name}" for name in ("int", "float", "bool")},
    "os.PathLike": "os.html#os.PathLike",
    "bytes": "functions.html#func-bytes",
    "None": "constants.html#None",
    **{
        name: f"exceptions.html#{name}"
        for name in ("ValueError", "TypeError", "KeyError", "OSError", "RuntimeError")
    },
}


def external_address(name: str) -> str | None:
    """Return the page that documents an object of another project, or None."""
    if name.startswith("keras."):
        # keras.src.models.model.Model is keras.Model.
        public = name.rpartition(".")[2] if ".src." in name else name.removeprefix("keras.")
        return f"https://keras.io/api/{KERAS[public]}" if public in KERAS else None
    if name in PYTHON:
        return f"https://docs.python.org/3/library/{PYTHON[name]}"
    if name in ("numpy.ndarray", "numpy.dtype"):
        return f"https://numpy.org/doc/stable/reference/generated/{name}.html"
    if name in ("numpy.typing.ArrayLike", "ArrayLike"):
        return "https://numpy.org/doc/stable/reference/typing.html#numpy.typing.ArrayLike"
    if name in ("matplotlib.figure.Figure", "Figure"):
        return "https://matplotlib.org/stable/api/figure_api.html#matplotlib.figure.Figure"
    return None


def resolve_external(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, content: nodes.Element
) -> nodes.Node | None:
    """Link a name that no page of this site documents to the project's own page."""
    address = external_address(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or address is None:
        return None
    link = nodes.reference("", "", internal=False, refuri=address)
    link += content
    return link


def object_named(env: BuildEnvironment, text: str) -> tuple[str, str, str] | None:
    """Return page, anchor and full name of the only documented object that a name can mean.

    A single word counts only if it is a class: `window` is an argument everywhere but in one place.
    """
    name = text.removesuffix("()")
    if not NAME.fullmatch(name) or ("." not in name and not name[0].isupper()):
        return None
    objects = env.domains.python_domain.objects
    for full in (name, f"keras_dpn.{name}"):
        if full in objects:
            return objects[full].docname, objects[full].node_id, full
    matches = {(o.docname, o.node_id): n for n, o in objects.items() if n.endswith(f".{name}")}
    if len(matches) != 1:
        return None
    [((page, anchor), full)] = matches.items()
    return page, anchor, full


def link_code(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Link inline code that names a documented object, on the pages and in docstrings."""
    for code in list(doctree.findall(nodes.literal)):
        if isinstance(code.parent, nodes.reference) or "xref" in code.get("classes", ()):
            continue
        text = code.astext()
        target = object_named(app.env, text)
        if target is not None:
            to, anchor, title = target
            if to != page or not _within(code, anchor):
                link = make_refnode(app.builder, page, to, anchor, code.deepcopy(), title)
                code.replace_self(link)
        elif (address := external_address(text.removesuffix("()"))) and "." in text:
            link = nodes.reference("", "", code.deepcopy(), internal=False, refuri=address)
            code.replace_self(link)


def _within(node: nodes.Node, anchor: str) -> bool:
    """Return whether a node is in the description of the object with this anchor."""
    while node is not None:
        signatures = getattr(node, "children", ())[:1]
        if any(anchor in getattr(child, "attributes", {}).get("ids", ()) for child in signatures):
            return True
        node = node.parent
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("missing-reference", resolve_external)
    app.connect("doctree-resolved", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
