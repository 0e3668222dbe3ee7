"""Answers on their way out: compressed where it pays, kept by browsers where they may; files of the product and the theme."""

import re
import zlib

import pytest

from tests.visitor import Visitor
from tradepost.web.compression import compress, takes_gzip


@pytest.mark.parametrize(
    ("value", "takes"),
    [
        (b"gzip", True),
        (b"br, gzip;q=0.8", True),
        (b"gzip; q=0", False),
        (b"deflate", False),
        (b"", False),
        (b"x-gzip", False),
    ],
)
def test_what_a_client_reads(value: bytes, takes: bool) -> None:
    assert takes_gzip([(b"host", b"x"), (b"accept-encoding", value)]) is takes


def test_compressing_loses_nothing() -> None:
    data = "Äpfel und Birnen ".encode() * 400
    assert zlib.decompress(compress(data), 31) == data
    assert len(compress(data)) < len(data) / 10


async def test_pages_are_compressed_for_those_who_take_it(browse: Visitor) -> None:
    plain = await browse.client.get("/", headers={"accept-encoding": "identity"})
    small = await browse.client.get("/", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) * 2 < len(plain.content)
    assert small.headers["vary"] == plain.headers.get("vary", small.headers["vary"])
    assert small.text.count("<main") == 1


async def test_a_first_visit_is_under_100_kilobytes(browse: Visitor) -> None:
    """The page with its styles and scripts, as sent; pictures and fonts come after."""
    headers = {"accept-encoding": "gzip"}
    home = await browse.client.get("/", headers=headers)
    links = re.findall(r'(?:src|href)="((?:/static|/theme)/[^"]+\.(?:css|js)[^"]*)"', home.text)
    assert len(links) >= 4
    answers = [home, *[await browse.client.get(link, headers=headers) for link in links]]
    assert sum(int(answer.headers["content-length"]) for answer in answers) < 100_000


async def test_static_files_are_kept_by_their_version(browse: Visitor) -> None:
    link = re.search(r'href="(/static/css/tradepost\.css\?v=[0-9a-f]+)"', (await browse.client.get("/")).text)
    assert link
    versioned = await browse.client.get(link[1])
    assert "immutable" in versioned.headers["cache-control"]
    assert versioned.headers["content-type"].startswith("text/css")
    other = await browse.client.get("/static/css/tradepost.css?v=another")
    assert other.headers["cache-control"] == "public, max-age=3600"
    again = await browse.client.get("/static/css/tradepost.css", headers={"if-none-match": other.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/static/css/tradepost.css/",
        "/static//css/tradepost.css",
        "/static/css//tradepost.css",
        "/theme/theme.css/",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/css",
        "/static/none.css",
        "/static/vendor/README.md",
    ],
)
async def test_nothing_else_is_sent(browse: Visitor, path: str) -> None:
    assert (await browse.client.get(path)).status_code == 404


async def test_every_page_has_another_form_token_and_each_is_taken(browse: Visitor) -> None:
    """A secret that repeats in compressed pages could be guessed from their size."""
    tokens = [
        re.findall(r'name="csrf_token" value="([0-9a-f]+)"', (await browse.client.get("/")).text)[0] for _ in "ab"
    ]
    assert tokens[0] != tokens[1]
    for token in tokens:
        answer = await browse.client.post("/scheme", data={"csrf_token": token, "scheme": "dark"})
        assert answer.status_code == 303
    forged = tokens[0][:16] + tokens[1][16:]
    assert (await browse.client.post("/scheme", data={"csrf_token": forged, "scheme": "dark"})).status_code == 403


async def test_a_category_without_a_picture_shows_its_emoji(browse: Visitor) -> None:
    drawn = await browse.client.get("/theme/categories/fruit.webp")
    assert drawn.headers["content-type"].startswith("image/svg+xml")
    assert "<text" in drawn.text
    for name in ("none.webp", "fruit.png", "..%2f..%2fstore.toml"):
        assert (await browse.client.get(f"/theme/categories/{name}")).status_code == 404


@pytest.mark.parametrize("folder", ["/static", "/theme", "/theme/categories"])
@pytest.mark.parametrize(
    "name", ["css%00.css", "a" * 300 + ".css", "x/" * 500 + "y.webp", "%ff.css", "..%2f..%2fstore.css"]
)
async def test_an_odd_name_is_no_file(browse: Visitor, folder: str, name: str) -> None:
    assert (await browse.get(f"{folder}/{name}")).status_code == 404
