"""Docstrings are written for `help()`: here their plain signs become reStructuredText.

A bar is an absolute value and not a substitution, a name that ends in an underscore is
a fitted attribute and not a link, and what is indented in the description is a formula
and not a quotation. What is marked as code or mathematics stays as it is.
"""

import re

MARKED = re.compile(
    r"""
      ``.+?`` | `[^`]*`                                       # code, roles and links
    | ^[ ]*>>>[^\n]*(?:\n[ ]*\S[^\n]*)*                       # examples, with output
    | ^([ ]*)\.\.[ ]\w[^\n]*(?:\n\1[ ]+[^\n]*|\n[ ]*(?=\n))*  # directives
    | ^([ ]*)(?=\S)[^\n]*::\n(?:[ ]*\n|\2[ ]+[^\n]*\n)+       # literal blocks
    """,
    re.M | re.S | re.X,
)
# An indented paragraph after a paragraph of text, none of whose lines is a mark.
FORMULA = re.compile(r"(^[^\s:.\-*>+].*(?<!::)\n\n)(?= +[^\s])", re.M)
BAR = re.compile(r"(?<!\\)\|")
FITTED = re.compile(r"(?<![\\\w])(\w*[a-zA-Z0-9])_(?!\w)")


def escape(text):
    """Return the text with formulas marked, and plain signs escaped elsewhere."""
    text = FORMULA.sub(r"\1::\n\n", text)
    parts, end = [], 0
    for marked in MARKED.finditer(text):
        parts += [plain(text[end : marked.start()]), marked[0]]
        end = marked.end()
    return "".join([*parts, plain(text[end:])])


def plain(text):
    """Escape a piece in which nothing is marked."""
    return FITTED.sub(r"\1\\_", BAR.sub(r"\\|", text))


def process(app, what, name, obj, options, lines):
    """Escape one docstring, after numpydoc has laid out its sections."""
    lines[:] = escape("\n".join(lines) + "\n").splitlines()


def setup(app):
    """Have docstrings pass through `process` last."""
    app.connect("autodoc-process-docstring", process, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
