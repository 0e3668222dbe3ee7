"""How `make docs` builds the site from these pages; they stand on their own without it, which is how most people read them."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
PARTS = ("tutorials", "how-to", "explanation", "reference", "decisions")

project = "Tradepost"
release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
root_doc = "README"
source_suffix = {".md": "markdown"}
extensions = ["myst_parser"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "Tradepost"
html_show_sphinx = False
html_copy_source = False


def with_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page the contents of the site: which pages there are is not said twice."""
    if page == root_doc:
        source[0] += "".join(f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {part}\n{part}/*\n```\n" for part in PARTS)


def setup(app: Sphinx) -> None:
    """Register what is done while reading."""
    app.connect("source-read", with_contents)
