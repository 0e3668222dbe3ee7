"""Files of a store: its theme, its pictures, robots and site map."""

from functools import lru_cache
from pathlib import Path
from uuid import UUID
from xml.sax.saxutils import escape

from litestar import Response, get
from litestar.params import FromPath

from tradepost.catalog.listing_pages import category_tree, newest_paths
from tradepost.catalog.pictures import NoSuchPicture, picture_rendition
from tradepost.core.errors import NotFound
from tradepost.web.typing import GivenStore

_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
_TYPES = {
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain",
    ".webp": "image/webp",
}


class NoSuchAsset(NotFound):
    """There is no such file."""


@get("/media/{file_id:uuid}/{name:str}", include_in_schema=False)
async def picture(store: GivenStore, file_id: FromPath[UUID], name: FromPath[str]) -> Response[bytes]:
    """Send a stored picture at one of the standard widths, as WebP."""
    width = name.removesuffix(".webp")
    if not name.endswith(".webp") or not width.isdecimal() or len(width) > 4:
        raise NoSuchPicture
    data = await picture_rendition(store.db, store.files, file_id, int(width))
    return Response(data, media_type="image/webp", headers=_FOREVER)


@get("/theme/{path:path}", include_in_schema=False, sync_to_thread=False)
def theme_file(store: GivenStore, path: FromPath[Path]) -> Response[bytes]:
    """Send a file of the store's theme."""
    data, media_type = _theme_file(store.preset_folder / "theme", str(path).lstrip("/"))
    return Response(data, media_type=media_type, headers={"cache-control": "public, max-age=86400"})


@lru_cache(maxsize=128)
def _theme_file(folder: Path, name: str) -> tuple[bytes, str]:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or path.suffix not in _TYPES or not path.is_file():
        raise NoSuchAsset
    return path.read_bytes(), _TYPES[path.suffix]


@get("/favicon.ico", include_in_schema=False, sync_to_thread=False)
def favicon(store: GivenStore) -> Response[bytes]:
    """Send the store's mark to browsers that ask for it by its old name."""
    data, media_type = _theme_file(store.preset_folder / "theme", "favicon.svg")
    return Response(data, media_type=media_type, headers={"cache-control": "public, max-age=86400"})


@get("/robots.txt", include_in_schema=False, sync_to_thread=False)
def robots(store: GivenStore) -> Response[str]:
    """Tell crawlers what is public."""
    private = "".join(
        f"Disallow: {path}\n" for path in ("/cart", "/checkout", "/orders", "/me", "/office", "/sign-in", "/api/")
    )
    return Response(f"User-agent: *\n{private}Sitemap: {store.base_url}/sitemap.xml\n", media_type="text/plain")


@get("/sitemap.xml", include_in_schema=False)
async def sitemap(store: GivenStore) -> Response[str]:
    """List the categories and the newest listings, up to the 10,000 that one site map should hold."""
    tree = await category_tree(store.db)
    entries = [f"<url><loc>{store.base_url}/</loc></url>"]
    entries += [f"<url><loc>{store.base_url}/c/{escape(c.slug)}</loc></url>" for c in tree.rows]
    entries += [
        f"<url><loc>{store.base_url}{escape(row.path)}</loc><lastmod>{row.updated_at:%Y-%m-%d}</lastmod></url>"
        for row in await newest_paths(store.db, 10_000)
    ]
    body = "\n".join(entries)
    return Response(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{body}\n</urlset>\n',
        media_type="application/xml",
        headers={"cache-control": "public, max-age=3600"},
    )


asset_routes = [picture, theme_file, favicon, robots, sitemap]
