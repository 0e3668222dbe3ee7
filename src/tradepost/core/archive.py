"""Many files as one: a tar that is whole and genuine or is refused, encrypted on request.

Owns the format. The members come in any order, then `manifest.json` with the SHA-256 of each, then `seal`, a signature of the
manifest by the installation's key: a file that was cut off has no seal, one that was changed does not fit it. Encrypted, the tar
is cut into chunks of 1 MiB, each sealed with AES-256-GCM under its number, the last one marked as such.
"""

import hashlib
import io
import os
import re
import secrets
import struct
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec
from cryptography.exceptions import InvalidTag

from tradepost.core.crypto import Keyring
from tradepost.core.errors import Invalid

MANIFEST, SEAL = "manifest.json", "seal"
_MAGIC = b"tradepost archive, encrypted 1\n"
_PURPOSE = "archive"
_CHUNK = 1024 * 1024
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(eq=False)
class ArchiveBroken(Invalid):
    """{path} cannot be used: {reason}."""

    path: str
    reason: str


class Member(msgspec.Struct, frozen=True):
    """A file of an archive."""

    bytes: int
    sha256: str


class _Contents(msgspec.Struct, frozen=True):
    about: msgspec.Raw
    members: dict[str, Member]


class ArchiveWriter:
    """Writes an archive; `write_archive` makes one."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, Member] = {}

    def add(self, name: str, data: bytes) -> None:
        """Add a member from memory."""
        self._add(name, len(data), io.BytesIO(data))

    def add_file(self, name: str, path: Path) -> None:
        """Add a file as a member."""
        with path.open("rb") as file:
            self._add(name, path.stat().st_size, file)

    def _add(self, name: str, size: int, source: BinaryIO) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a member's name: {name!r}")
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        counted = _Hashing(source)
        self._tar.addfile(info, cast("BinaryIO", counted))
        self.members[name] = Member(size, counted.digest.hexdigest())

    def finish(self, about: object, keys: Keyring) -> None:
        """Write what the archive is, and its seal."""
        contents = _Contents(msgspec.Raw(msgspec.json.encode(about)), dict(self.members))
        manifest = msgspec.json.encode(contents)
        self.add(MANIFEST, manifest)
        self.add(SEAL, keys.sign(manifest, _PURPOSE).encode())


class _Hashing:
    """Reads through to a file and takes the sum of what went by."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


@contextmanager
def write_archive(path: Path, keys: Keyring, *, encrypt: bool) -> Iterator[ArchiveWriter]:
    """Write an archive to a file that appears under its name only when it is whole, readable by nobody else."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            out = _Encrypting(file, keys) if encrypt else file
            with tarfile.open(fileobj=cast("BinaryIO", out), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                yield ArchiveWriter(tar)
            if isinstance(out, _Encrypting):
                out.end()
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


class _Encrypting:
    """A file to write to whose content is encrypted in chunks."""

    def __init__(self, file: BinaryIO, keys: Keyring) -> None:
        key_id = keys.key_ids[0].encode()
        self._file = file
        self._cipher = keys.cipher(keys.key_ids[0], _PURPOSE)
        self._salt = secrets.token_bytes(8)
        self._kept = bytearray()
        self._number = 0
        file.write(_MAGIC + bytes((len(key_id),)) + key_id + self._salt)

    def write(self, data: bytes) -> int:
        self._kept += data
        while len(self._kept) > _CHUNK:
            self._seal(bytes(self._kept[:_CHUNK]), last=False)
            del self._kept[:_CHUNK]
        return len(data)

    def end(self) -> None:
        self._seal(bytes(self._kept), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        nonce = self._salt + struct.pack(">I", self._number)
        sealed = self._cipher.encrypt(nonce, chunk, b"last" if last else b"more")
        self._file.write(struct.pack(">I", len(sealed)) + sealed)
        self._number += 1


class _Decrypting:
    """An encrypted file to read from."""

    def __init__(self, file: BinaryIO, keys: Keyring, path: Path) -> None:
        self._file, self._path = file, path
        length = self._exactly(1)[0]
        self._cipher = keys.cipher(self._exactly(length).decode("ascii", "replace"), _PURPOSE)
        self._salt = self._exactly(8)
        self._kept = b""
        self._number = 0
        self._ended = False

    def read(self, size: int) -> bytes:
        while len(self._kept) < size and not self._ended:
            self._kept += self._open()
        data, self._kept = self._kept[:size], self._kept[size:]
        return data

    def _open(self) -> bytes:
        (length,) = struct.unpack(">I", self._exactly(4))
        if length > _CHUNK + 16:
            raise ArchiveBroken(str(self._path), "it was changed")
        sealed, nonce = self._exactly(length), self._salt + struct.pack(">I", self._number)
        self._number += 1
        for mark in (b"more", b"last"):
            try:
                opened = self._cipher.decrypt(nonce, sealed, mark)
            except InvalidTag:
                continue
            self._ended = mark == b"last"
            return opened
        raise ArchiveBroken(str(self._path), "it was changed")

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ArchiveBroken(str(self._path), "its end is missing")
        return data


def unpack(path: Path, folder: Path, keys: Keyring, about: type[T]) -> tuple[T, dict[str, Member]]:
    """Unpack an archive into an empty folder; return what it is, and its members.

    Raises `ArchiveBroken` for one that is cut off, was changed or is none, and `KeyMissing` where it was sealed by another
    installation's key: then nothing in the folder is to be trusted.
    """
    found: dict[str, Member] = {}
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
            source = _Decrypting(file, keys, path) if head == _MAGIC else file
            if source is file:
                file.seek(0)
            with tarfile.open(fileobj=cast("BinaryIO", source), mode="r|") as tar:
                for info in tar:
                    found[info.name] = _extract(tar, info, folder, path)
    except tarfile.TarError:
        raise ArchiveBroken(str(path), "it is no backup, or its end is missing") from None
    except OSError as error:
        raise ArchiveBroken(str(path), (error.strerror or str(error)).lower()) from None
    return _checked(path, folder, keys, about, found)


def _extract(tar: tarfile.TarFile, info: tarfile.TarInfo, folder: Path, path: Path) -> Member:
    source = tar.extractfile(info) if info.isfile() and _NAME.fullmatch(info.name) else None
    if source is None:
        raise ArchiveBroken(str(path), f"it holds something strange: {info.name[:80]!r}")
    target = folder / info.name
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as out:
        while data := source.read(_CHUNK):
            digest.update(data)
            size += out.write(data)
    if size != info.size:
        raise ArchiveBroken(str(path), "its end is missing")
    return Member(size, digest.hexdigest())


def _checked(
    path: Path, folder: Path, keys: Keyring, about: type[T], found: dict[str, Member]
) -> tuple[T, dict[str, Member]]:
    if MANIFEST not in found or SEAL not in found:
        raise ArchiveBroken(str(path), "its end is missing")
    manifest = (folder / MANIFEST).read_bytes()
    if not keys.is_signed(manifest, (folder / SEAL).read_text("ascii", "replace"), _PURPOSE):
        raise ArchiveBroken(str(path), "it was changed")
    contents = msgspec.json.decode(manifest, type=_Contents)
    if contents.members != {name: member for name, member in found.items() if name not in {MANIFEST, SEAL}}:
        raise ArchiveBroken(str(path), "it was changed")
    return msgspec.json.decode(contents.about, type=about), contents.members
