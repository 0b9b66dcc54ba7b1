"""Configuration of the documentation site: `make docs`."""

import os
import re
import runpy
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]
__version__ = runpy.run_path(str(DOCS.parent / "keras_dpn" / "version.py"))["__version__"]

project = "keras_dpn"
author = "The keras_dpn authors"
copyright = "the keras_dpn authors, Apache-2.0"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "matplotlib.sphinxext.plot_directive",
    "cross_references",
    "docstrings",
    "repository",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
highlight_language = "none"
python_maximum_signature_line_length = 80
python_display_short_literal_types = True

# Markdown. Headings down to the third level are targets of links: PAGE.md#a-heading.
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings. A method without one of its own is not listed.
autodoc_default_options = {
    "members": True,
    "inherited-members": True,  # but see `skip_member` in docstrings.py
    # Parts of how models are built, and deprecated names.
    "exclude-members": "from_config, passes_on_to, deprecated_arguments, updated_config, "
    "stage_names, stage_model, has_stage, pieces, hard_ratio",
}
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autosummary_generate_overwrite = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # it links the values of a Literal

# Every name must lead somewhere. Names of other projects do where `cross_references` knows their
# address; they have no inventory that could be read without a network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(map(re.escape, ('keras', 'numpy', 'matplotlib', 'PIL')))})\..*"),
    ("py:.*", r"(collections|typing|pathlib)\..*"),
    # `looks_at` is also registered for layers that are not public.
    ("py:class", r"keras_dpn\.models\.(deeplab\.Interp|guide\.Guide)"),
    # A Pillow image, by what the client needs of it.
    ("py:class", r"keras_dpn\.client\.inputs\.PillowImage"),
]

# The figures of the gallery are drawn by the code that is shown with them. They have no
# background: their colours are readable on the light and on the dark page.
plot_include_source = True
plot_working_directory = str(DOCS)
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 160)]
plot_apply_rcparams = True
GRAY = "#7f7f86"
plot_rcparams = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.constrained_layout.use": True,
    "axes.facecolor": "none",
    "axes.titlesize": 10,
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.titlecolor", "axes.labelcolor"), GRAY),
    **dict.fromkeys(("xtick.color", "ytick.color", "axes.edgecolor"), GRAY),
}

html_theme = "furo"
html_title = f"keras_dpn {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
# Styles whose comments have enough contrast.
pygments_style = "github-light-high-contrast"
pygments_dark_style = "github-dark-high-contrast"
