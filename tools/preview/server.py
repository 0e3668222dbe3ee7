"""Serves the preview on loopback: each store under its own host name, with the content policy of the real thing."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_currency, format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from preview import samples

ROOT = Path(__file__).resolve().parent.parent.parent
WEB = ROOT / "src/tradepost/web"
PRESETS = ROOT / "src/tradepost/presets"
POLICY = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
Page = Callable[[samples.Store], tuple[str, dict[str, Any]]]


def when(value: datetime) -> Markup:
    relative = format_timedelta(value - samples.NOW, add_direction=True, locale="en")
    exact = format_datetime(value, "d MMMM y, HH:mm", locale="en")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(value.isoformat(), exact, relative)


def distance(metres: float) -> str:
    return (
        f"{metres:.0f} m"
        if metres < 1000
        else f"{format_decimal(round(metres / 1000, 1 if metres < 10000 else 0), locale='en')} km"
    )


def environment() -> Environment:
    folders = [WEB / "templates", Path(__file__).parent]
    made = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "money": lambda amount, currency: format_currency(Decimal(amount) / 100, currency, locale="en_US"),
        "when": when,
        "distance": distance,
        "quantity": lambda amount: format_decimal(amount, "#,##0.###", locale="en"),
    }
    made.globals["picture_url"] = lambda file_id, width: f"/media/{file_id}/{width}.webp"
    return made


@lru_cache(maxsize=2000)
def picture(store: samples.Store, file_id: str, width: int) -> bytes:
    """The sample picture in a width, or the category's on a tinted tile where there is no sample art yet."""
    source = store.goods / f"sample/images/{file_id}.webp"
    image = Image.open(source).convert("RGB") if source.is_file() else stand_in(store, file_id)
    image.thumbnail((width, width * 2))
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=80)
    return packed.getvalue()


def stand_in(store: samples.Store, file_id: str) -> Image.Image:
    seed = hashlib.sha256(file_id.encode()).digest()
    tile = Image.new("RGB", (800, 800), (205 + seed[0] // 6, 205 + seed[1] // 6, 205 + seed[2] // 6))
    row = store.details.get(file_id, {})
    drawing = store.goods / f"theme/categories/{row.get('category')}.webp"
    if drawing.is_file():
        piece = (
            Image.open(drawing).convert("RGBA").resize((480, 480), Image.Resampling.LANCZOS).rotate(seed[3] % 40 - 20)
        )
        tile.paste(piece, (160, 160), piece)
    return tile


class Preview:
    """Renders a store's page in a scheme, signed in or as a guest."""

    def __init__(self, stores: dict[str, samples.Store], pages: dict[str, Page]) -> None:
        self.stores = stores
        self.pages = pages
        self.environment = environment()

    def render(self, store: samples.Store, page: str, scheme: str, path: str, guest: bool) -> str:
        template, context = self.pages[page](store)
        person = (
            None
            if guest
            else SimpleNamespace(
                display_name="Rudo Moyo", username="rudo", permissions={"buy", "sell", "review"}, avatar_file_id=None
            )
        )
        top = [category for category in store.settings.categories if not hasattr(category, "parent")]
        shared = {
            "store": store.settings, "person": person, "cart_count": 3, "unread_count": 2, "scheme": scheme, "path": path,
            "csrf_token": "preview", "messages": [], "categories": top, "asset_version": "",
        }  # fmt: skip
        return self.environment.get_template(template).render(shared | context)

    def answer(self, host: str, target: str, cookies: str) -> tuple[int, str, bytes]:
        store = self.stores.get(host.split(".", maxsplit=1)[0]) or next(iter(self.stores.values()))
        parts = urlsplit(target)
        path, query = unquote(parts.path), parse_qs(parts.query)
        if path.startswith("/static/"):
            return file(WEB / path[1:])
        if path.startswith("/theme/"):
            own = store.folder / path[1:]
            return file(own if own.is_file() else store.goods / path[1:])
        if path.startswith("/media/"):
            _, _, file_id, name = path.split("/")
            return 200, "image/webp", picture(store, file_id, int(name.removesuffix(".webp")))
        page = path.strip("/") or "home"
        if page not in self.pages:
            return 404, "text/plain", b"no such page"
        jar = SimpleCookie(cookies)
        scheme = query.get("scheme", [jar["scheme"].value if "scheme" in jar else ""])[0]
        html = self.render(store, page, scheme, query.get("path", ["/"])[0], "guest" in query)
        return 200, "text/html; charset=utf-8", html.encode()


def file(path: Path) -> tuple[int, str, bytes]:
    if not path.is_file():
        return 404, "text/plain", b"not found"
    return 200, TYPES.get(path.suffix, "application/octet-stream"), path.read_bytes()


@contextmanager
def serve(preview: Preview, port: int = 0) -> Iterator[int]:
    """The port on which the preview answers until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = preview.answer(self.headers["Host"], self.path, self.headers.get("Cookie", ""))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # the browser has moved on to the next page
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not worth a line each."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
