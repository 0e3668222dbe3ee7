"""The file store: one contract, kept by a local folder and by a store that speaks S3."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tradepost.core.errors import Unavailable
from tradepost.core.files import BadFileStore, FileStore, FilesUnreachable, NoSuchFile


class Bucket:
    """As much of S3 as a store of whole objects needs (PUT, GET, HEAD, POST ?delete), on a local port."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.broken = False

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ")
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                writer.write(self.reply(method, path.partition("?")[0], headers, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        if self.broken:
            return http(503, b"<Error><Code>SlowDown</Code></Error>")
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=test-key/")
        if method == "PUT":
            self.objects[path] = (body, headers["content-type"])
            return http(200, b"", etag='"1"')
        if method == "POST":  # several at once: POST /bucket?delete
            keys = re.findall(rb"<Key>(.*?)</Key>", body)
            for key in keys:
                self.objects.pop(f"{path}/{key.decode()}", None)
            deleted = b"".join(b"<Deleted><Key>%b</Key></Deleted>" % key for key in keys)
            return http(200, b"<DeleteResult>%b</DeleteResult>" % deleted, content_type="application/xml")
        if path not in self.objects:
            return http(404, b"")
        data, media_type = self.objects[path]
        head = http(200, data, etag='"1"', content_type=media_type, last_modified="Wed, 21 Oct 2026 07:28:00 GMT")
        return head if method == "GET" else head[: len(head) - len(data)]


def http(status: int, body: bytes, **headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-length: {len(body)}",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(bucket: Bucket) -> AsyncIterator[str]:
    server = await asyncio.start_server(bucket.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"s3://shop/pictures?endpoint=http://127.0.0.1:{port}&region=eu-west-1"
    finally:
        server.close()


@pytest_asyncio.fixture
async def bucket(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Bucket, str]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    bucket = Bucket()
    async with serving(bucket) as url:
        yield bucket, url


@pytest_asyncio.fixture(params=["folder", "s3"])
async def files(request: pytest.FixtureRequest, tmp_path: Path, bucket: tuple[Bucket, str]) -> FileStore:
    return FileStore.open(str(tmp_path / "files") if request.param == "folder" else bucket[1])


async def test_a_file_comes_back_as_it_was_put(files: FileStore) -> None:
    data = bytes(range(256)) * 1000
    await files.put("pictures/ab/abcd.webp", data, "image/webp")
    assert await files.get("pictures/ab/abcd.webp") == data
    assert await files.exists("pictures/ab/abcd.webp")


async def test_a_file_put_again_is_replaced(files: FileStore) -> None:
    await files.put("a", b"first", "text/plain")
    await files.put("a", b"second", "text/plain")
    assert await files.get("a") == b"second"


async def test_an_empty_file_is_a_file(files: FileStore) -> None:
    await files.put("empty", b"", "text/plain")
    assert await files.get("empty") == b""
    assert await files.exists("empty")


async def test_a_file_that_is_not_there_is_not_found(files: FileStore) -> None:
    assert not await files.exists("nowhere/to/be.seen")
    with pytest.raises(NoSuchFile):
        await files.get("nowhere/to/be.seen")


async def test_a_deleted_file_is_gone_and_may_be_deleted_again(files: FileStore) -> None:
    await files.put("a", b"x", "text/plain")
    await files.delete("a")
    await files.delete("a")
    assert not await files.exists("a")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a/.hidden", "a b", "a\x00", "ä", "a" * 501]
)
async def test_a_key_that_could_leave_the_folder_is_a_defect(files: FileStore, key: str) -> None:
    with pytest.raises(ValueError, match="not a file's key"):
        await files.get(key)


async def test_many_writers_of_one_key_leave_one_whole_file(files: FileStore) -> None:
    contents = [bytes([n]) * 50_000 for n in range(8)]
    await asyncio.gather(*(files.put("same", data, "text/plain") for data in contents))
    assert await files.get("same") in contents


async def test_an_s3_store_keeps_prefix_and_media_type(bucket: tuple[Bucket, str]) -> None:
    served, url = bucket
    await FileStore.open(url).put("a/b.webp", b"x", "image/webp")
    assert served.objects == {"/shop/pictures/a/b.webp": (b"x", "image/webp")}


async def test_an_s3_store_that_fails_is_unavailable(bucket: tuple[Bucket, str]) -> None:
    served, url = bucket
    served.broken = True
    with pytest.raises(FilesUnreachable) as failed:
        await FileStore.open(url).put("a", b"x", "text/plain")
    assert isinstance(failed.value, Unavailable)
    assert served.objects == {}


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FilesUnreachable):
        FileStore.open(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("url", ["", "ftp://x/y", "s3://", "s3://bucket?secret=1", "s3://key:secret@bucket/x"])
def test_a_url_that_names_no_store_is_refused_without_repeating_its_options(url: str) -> None:
    with pytest.raises(BadFileStore) as refused:
        FileStore.open(url)
    assert not re.search(r"secret=1", refused.value.message)
