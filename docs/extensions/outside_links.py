"""Links from pages to files outside docs/ that the site has as pages of its own.

On GitHub they lead to the files, on the site to the pages that include them.
"""

PAGE_OF = {
    "../CHANGES.md": "changelog.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../README.md": "index.md",
    "../data/README.md": "data.md",
}


def point_inside(app, docname, source):
    """Replace the links' targets in a page that has just been read."""
    for file, page in PAGE_OF.items():
        source[0] = source[0].replace(f"]({file})", f"]({page})")


def setup(app):
    """Have every page's source pass through `point_inside`."""
    app.connect("source-read", point_inside)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
