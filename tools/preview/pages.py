"""Which pages the preview knows, and what each is given."""

from preview.samples import home_context
from preview.server import Page

PAGES: dict[str, Page] = {
    "home": lambda store: ("pages/home.html", home_context(store)),
}
