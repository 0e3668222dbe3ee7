"""Files of a store: its theme, its pictures, robots and site map."""

import hashlib
from functools import lru_cache
from pathlib import Path
from uuid import UUID
from xml.sax.saxutils import escape

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from tradepost.catalog.listing_pages import category_tree, newest_paths
from tradepost.catalog.pictures import NoSuchPicture, picture_rendition
from tradepost.core.errors import NotFound
from tradepost.flows.editions import as_drafted
from tradepost.flows.preset import PRESETS
from tradepost.flows.store import Store
from tradepost.web.compression import compress, takes_gzip
from tradepost.web.rendering import STATIC, asset_version
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_FOR_A_DAY = "public, max-age=86400"
_EMOJI = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><text x="12" y="19" font-size="19" text-anchor="middle">{}</text></svg>'
_FOREVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain",
    ".webp": "image/webp",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
}


_LONGEST_NAME = 60  # with four bytes a character still less than file systems take
_TEXT = {".css", ".js", ".svg", ".txt"}


class NoSuchAsset(NotFound):
    """There is no such file."""


@get("/media/{file_id:uuid}/{name:str}", include_in_schema=False)
async def picture(store: GivenStore, file_id: FromPath[UUID], name: FromPath[str]) -> Response[bytes]:
    """Send a stored picture at one of the standard widths, as WebP."""
    width = name.removesuffix(".webp")
    if not name.endswith(".webp") or not width.isdecimal() or len(width) > 4:
        raise NoSuchPicture
    data = await picture_rendition(store.db, store.files, file_id, int(width))
    return Response(data, media_type="image/webp", headers={"cache-control": _FOREVER})


class Asset(msgspec.Struct, frozen=True):
    """A file that ships with the product or the store: its content, also compressed where that pays."""

    data: bytes
    small: bytes | None
    media_type: str
    etag: str


_AN_HOUR_S = 3600
_PRESETS = frozenset(path.name for path in PRESETS.iterdir() if path.is_dir())


def _named(request: HttpRequest, path: Path, folder: str) -> str:
    """Return the name of the file that an address asks for; a file has one address, to the letter."""
    name = str(path).lstrip("/")
    asked: str = request.scope["tradepost_path"]  # type: ignore[typeddict-item]  # our own key
    if asked != folder + name:
        raise NoSuchAsset
    return name


@lru_cache(maxsize=512)
def _asset(folder: Path, name: str) -> Asset:
    media_type = _TYPES.get(Path(name).suffix)
    if media_type is None or "\0" in name or max(map(len, Path(name).parts)) > _LONGEST_NAME:
        raise NoSuchAsset
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise NoSuchAsset
    data = path.read_bytes()
    small = compress(data, level=9) if path.suffix in _TEXT and len(data) > 1_000 else None
    return Asset(data, small, media_type, _etag(data))


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:20]}"'


def _send(request: HttpRequest, asset: Asset, keep: str) -> Response[bytes]:
    """Answer with a file, with less where the browser has it already or can read gzip."""
    headers = {"cache-control": keep, "etag": asset.etag, "vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers)
    if asset.small and takes_gzip(request.scope["headers"]):  # type: ignore[arg-type]  # Litestar's type is wider than ASGI's
        return Response(asset.small, media_type=asset.media_type, headers=headers | {"content-encoding": "gzip"})
    return Response(asset.data, media_type=asset.media_type, headers=headers)


@get("/static/{path:path}", include_in_schema=False, sync_to_thread=False)
def static_file(request: HttpRequest, path: FromPath[Path]) -> Response[bytes]:
    """Send a file of the product: to keep for ever where its address names the version, for an hour where it doesn't."""
    versioned = request.query_params.get("v") == asset_version()
    return _send(
        request, _asset(STATIC, _named(request, path, "/static/")), _FOREVER if versioned else "public, max-age=3600"
    )


@get("/theme/categories/{name:str}", include_in_schema=False)
async def category_picture(request: HttpRequest, store: GivenStore, name: FromPath[str]) -> Response[bytes]:
    """Send the picture of a category, or its emoji as a drawing where the theme has none."""
    try:
        return _send(request, _asset(store.preset_folder / "theme" / "categories", name), _FOR_A_DAY)
    except NoSuchAsset:
        category = (await category_tree(store.db)).by_slug.get(name.removesuffix(".webp"))
        if category is None or not name.endswith(".webp"):
            raise
        return _send(request, _drawn(category.emoji), _FOR_A_DAY)


@lru_cache(maxsize=512)
def _drawn(emoji: str) -> Asset:
    data = _EMOJI.format(escape(emoji)).encode()
    return Asset(data, None, "image/svg+xml", _etag(data))


@get("/theme/edition.css", include_in_schema=False)
async def edition_style(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Send the staff's own colours: those in force, kept for ever by their number, or whoever asks their draft's."""
    number = request.query_params.get("n", "")
    if number == "-1":
        store = await as_drafted(store, caller) or store
    keep = _FOREVER if number == str(store.edition) and store.edition >= 0 else "no-store"
    return Response(store.style, media_type="text/css", headers={"cache-control": keep})


@get("/theme/faces/{preset:str}/{name:str}", include_in_schema=False, sync_to_thread=False)
def typeface_file(request: HttpRequest, preset: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Send a typeface of the product, whichever store asks for it."""
    if preset not in _PRESETS or not name.endswith(".woff2"):
        raise NoSuchAsset
    return _send(request, _asset(PRESETS / preset / "theme" / "fonts", name), _FOR_A_DAY)


@get("/theme/{path:path}", include_in_schema=False, sync_to_thread=False)
def theme_file(request: HttpRequest, store: GivenStore, path: FromPath[Path]) -> Response[bytes]:
    """Send a file of the store's theme."""
    return _send(request, _asset(store.preset_folder / "theme", _named(request, path, "/theme/")), _FOR_A_DAY)


@get("/favicon.ico", include_in_schema=False, sync_to_thread=False)
def favicon(request: HttpRequest, store: GivenStore) -> Response[bytes]:
    """Send the store's mark to browsers that ask for it by its old name."""
    return _send(request, _asset(store.preset_folder / "theme", "favicon.svg"), _FOR_A_DAY)


@get("/robots.txt", include_in_schema=False, sync_to_thread=False)
def robots(store: GivenStore) -> Response[str]:
    """Tell crawlers what is public."""
    private = "".join(
        f"Disallow: {path}\n" for path in ("/cart", "/checkout", "/orders", "/me", "/office", "/sign-in", "/api/")
    )
    return Response(f"User-agent: *\n{private}Sitemap: {store.base_url}/sitemap.xml\n", media_type="text/plain")


@get("/sitemap.xml", include_in_schema=False)
async def sitemap(store: GivenStore) -> Response[str]:
    """List the categories and the newest listings, up to the 10,000 that one site map should hold; made once an hour."""

    async def make() -> str:
        return await _site_map(store)

    body = await store.cache.get_or_make("sitemap", into=str, ttl_s=_AN_HOUR_S, make=make)
    return Response(body, media_type="application/xml", headers={"cache-control": f"public, max-age={_AN_HOUR_S}"})


async def _site_map(store: Store) -> str:
    tree = await category_tree(store.db)
    entries = [f"<url><loc>{store.base_url}/</loc></url>"]
    entries += [f"<url><loc>{store.base_url}/c/{escape(c.slug)}</loc></url>" for c in tree.rows]
    entries += [
        f"<url><loc>{store.base_url}{escape(row.path)}</loc><lastmod>{row.updated_at:%Y-%m-%d}</lastmod></url>"
        for row in await newest_paths(store.db, 10_000)
    ]
    listed = "\n".join(entries)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{listed}\n</urlset>\n'


asset_routes = [
    picture,
    static_file,
    category_picture,
    edition_style,
    typeface_file,
    theme_file,
    favicon,
    robots,
    sitemap,
]
