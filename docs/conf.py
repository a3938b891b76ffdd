"""How `make docs` builds the site: Sphinx, executed vignettes, an API from docstrings.

Warnings are errors there. Nothing is fetched from elsewhere, neither when the site is
built nor when it is read: formulas are MathML, fonts and scripts come with the theme.
"""

import os
import sys
from pathlib import Path

import causalweights

sys.path.insert(0, str(Path(__file__).resolve().parent / "extensions"))

# ---- the project -----------------------------------------------------------------

project = "causalweights"
author = "The causalweights developers"
project_copyright = f"2026, {author}"
version = release = causalweights.__version__
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_copybutton",
    "mathml",
    "outside_links",
    "plain_docstrings",
    "vignette_pages",
]
exclude_patterns = ["browser", "extensions", "templates", "**.ipynb_checkpoints"]
templates_path = ["templates"]

# ---- docstrings ------------------------------------------------------------------

default_role = "obj"  # `IPMBalancer` is a link wherever there is such an object
autosummary_ignore_module_all = False  # a room's page lists its __all__
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections say it in words
numpydoc_show_class_members = False  # the template lists methods
numpydoc_use_plots = False
toc_object_entries_show_parents = "hide"

# ---- pages and vignettes ---------------------------------------------------------

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence"]
nb_execution_mode = "cache"  # a vignette runs again when its code has changed
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_ipywidgets_js = {}
# Notebooks draw into the page, whatever the shell's backend.
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"

# ---- HTML ------------------------------------------------------------------------

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# A sidebar that would be empty gives its room to the page's tables.
html_sidebars = {
    page: []
    for page in (
        "architecture",
        "benchmarks",
        "changelog",
        "choose",
        "coming_from",
        "contributing",
        "coverage",
        "data",
        "index",
    )
}
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
