"""Serves the preview on loopback: each store under its own host name, with the content policy of the real thing."""

import hashlib
import io
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from preview import samples
from preview.pages import PAGES
from tradepost.accounts.types import Caller
from tradepost.web import rendering

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
PERMISSIONS = frozenset({"buy", "sell", "review"})


@cache
def templates() -> Environment:
    """The product's own template environment, which also finds the page of components."""
    return rendering.environment().overlay(loader=FileSystemLoader([rendering.TEMPLATES, Path(__file__).parent]))


@lru_cache(maxsize=2000)
def picture(store: samples.Store, file_id: str, width: int) -> bytes:
    """The sample picture in a width, or the category's on a tinted tile where there is no sample art yet."""
    name, category = store.files[file_id]
    source = store.goods / "sample/images" / name
    image = Image.open(source).convert("RGB") if source.is_file() else stand_in(store, name, category)
    image.thumbnail((width, width * 2))
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=80)
    return packed.getvalue()


def stand_in(store: samples.Store, name: str, category: str) -> Image.Image:
    seed = hashlib.sha256(name.encode()).digest()
    tile = Image.new("RGB", (800, 800), (205 + seed[0] // 6, 205 + seed[1] // 6, 205 + seed[2] // 6))
    drawing = store.goods / f"theme/categories/{category}.webp"
    if drawing.is_file():
        piece = (
            Image.open(drawing).convert("RGBA").resize((480, 480), Image.Resampling.LANCZOS).rotate(seed[3] % 40 - 20)
        )
        tile.paste(piece, (160, 160), piece)
    return tile


class Preview:
    """Renders a store's page in a scheme, signed in or as a guest."""

    def __init__(self, stores: dict[str, samples.Store]) -> None:
        self.stores = stores

    def render(self, store: samples.Store, page: str, scheme: str, path: str, *, guest: bool) -> str:
        template, context = PAGES[page]
        person = Caller(user_id=samples.key("me"), username="rudo", display_name="Rudo Moyo", permissions=PERMISSIONS)
        shared = {
            "open_store": store, "store": store.settings, "base_url": "", "person": None if guest else person, "caller": person,
            "cart_count": 3, "unread_count": 2, "scheme": scheme, "path": path, "csrf_token": "preview", "messages": [], "categories": store.top,
        }  # fmt: skip
        return str(templates().get_template(template).render(shared | context(store)))

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
        if page not in PAGES:
            return 404, "text/plain", b"no such page"
        jar = SimpleCookie(cookies)
        scheme = query.get("scheme", [jar["scheme"].value if "scheme" in jar else ""])[0]
        try:
            html = self.render(store, page, scheme, query.get("path", ["/"])[0], guest="guest" in query)
        except Exception:  # noqa: BLE001 - whatever a template trips over is what the preview is there to show
            return 500, "text/plain; charset=utf-8", traceback.format_exc().encode()
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
