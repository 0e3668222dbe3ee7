"""Files under a key: in a local folder, or in any store that speaks S3.

Promises that a reader sees a file whole or not at all, that writing the same key again replaces it, and that every call to an
outside store has a timeout. Which files exist and who may see them is the business of the tables that name their keys.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from tradepost.core.errors import Invalid, NotFound, Unavailable

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_S3_OPTIONS = {"endpoint", "region"}


class NoSuchFile(NotFound):
    """That file is not here any more."""


class FilesUnreachable(Unavailable):
    """The place where files are kept does not answer or is full; please try again later."""


@dataclass(eq=False)
class BadFileStore(Invalid):
    """“{url}” is not a place for files: give a folder, or s3://bucket/prefix with endpoint and region after a question mark."""

    url: str


class FileStore:
    """A place for files. Made by `open`; needs no closing."""

    def __init__(self, store: LocalStore | S3Store, *, keeps_media_type: bool) -> None:
        self._store = store
        self._keeps_media_type = keeps_media_type

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the store at a folder's path (made where missing) or at `s3://bucket/prefix?endpoint=…&region=…`.

        Keys of an S3 store come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY. Raises `BadFileStore`.
        """
        if url.startswith("s3://"):
            return cls(_s3(url), keeps_media_type=True)
        if not url or "://" in url:
            raise BadFileStore(url)
        with _failures():
            return cls(LocalStore(Path(url).expanduser().absolute(), mkdir=True), keeps_media_type=False)

    async def put(self, key: str, data: bytes, media_type: str) -> None:
        """Write a file whole, in place of one that is there. Raises `FilesUnreachable`."""
        attributes = {"Content-Type": media_type} if self._keeps_media_type else None
        with _failures():
            await obstore.put_async(self._store, _checked(key), data, attributes=attributes, use_multipart=False)

    async def get(self, key: str) -> bytes:
        """Return a file's content. Raises `NoSuchFile`, `FilesUnreachable`."""
        with _failures():
            found = await obstore.get_async(self._store, _checked(key))
            return bytes(await found.bytes_async())

    async def put_file(self, key: str, path: Path) -> None:
        """Write a file of this machine, of any size. Raises `FilesUnreachable`."""
        with _failures():
            await obstore.put_async(self._store, _checked(key), path)

    async def get_file(self, key: str, path: Path) -> None:
        """Write a file's content to a path of this machine. Raises `NoSuchFile`, `FilesUnreachable`."""
        with _failures():
            found = await obstore.get_async(self._store, _checked(key))
            with path.open("wb") as out:
                async for chunk in found.stream():
                    out.write(chunk)

    async def keys_of(self, prefix: str) -> list[str]:
        """Return the keys right here, in no folder, that begin so, in order. Raises `FilesUnreachable`."""
        with _failures():
            found = await obstore.list_with_delimiter_async(self._store)
        return sorted(str(entry["path"]) for entry in found["objects"] if str(entry["path"]).startswith(prefix))

    async def list_older(self, prefix: str, before: datetime) -> AsyncIterator[list[str]]:
        """Yield the keys below a prefix whose files were written before a moment, some hundred at a time. Raises `FilesUnreachable`."""
        with _failures():
            async for entries in obstore.list(self._store, prefix=_checked(prefix), chunk_size=500):
                found = [str(entry["path"]) for entry in entries if entry["last_modified"] < before]
                if found:
                    yield found

    async def exists(self, key: str) -> bool:
        """Whether there is a file under the key. Raises `FilesUnreachable`."""
        try:
            with _failures():
                await obstore.head_async(self._store, _checked(key))
        except NoSuchFile:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Remove a file; one that is not there is no error. Raises `FilesUnreachable`."""
        try:
            with _failures():
                await obstore.delete_async(self._store, _checked(key))
        except NoSuchFile:
            return


@contextmanager
def _failures() -> Iterator[None]:
    """Translate the library's errors; FileNotFoundError is what it raises for a local file."""
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise NoSuchFile from None
    except (BaseError, OSError) as error:
        raise FilesUnreachable from error


def _checked(key: str) -> str:
    """Return the key; keys are made by us, never by a person, so a strange one is a defect."""
    if not _KEY.fullmatch(key) or len(key) > 500:
        raise ValueError(f"not a file's key: {key!r}")
    return key


def _s3(url: str) -> S3Store:
    parts = urlsplit(url)
    options: Any = dict(parse_qsl(parts.query))
    if not parts.netloc or parts.username or not options.keys() <= _S3_OPTIONS:
        raise BadFileStore(url.partition("?")[0])
    endpoint = options.get("endpoint", "")
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        config=options,
        client_options={
            "timeout": timedelta(seconds=20),
            "connect_timeout": timedelta(seconds=3),
            "allow_http": endpoint.startswith("http://"),
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=25)},
    )
