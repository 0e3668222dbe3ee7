"""Pictures as rows and stored files: what people upload, what presets bring, and the sizes that pages ask for.

Promises that a stored picture was decoded and written anew by us (uploads), that the same content is stored once, and that a
size is made when it is first asked for and kept.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from tradepost.catalog.tables import files as file_table
from tradepost.core.database import Database, Transaction
from tradepost.core.errors import Invalid, NotFound
from tradepost.core.files import FileStore
from tradepost.core.pictures import WIDTHS, Picture, check_picture, measure, rendition, worked_on

PICTURES: Final = "pictures"
_IS_PICTURE: Final = re.compile(PICTURES + r"/[0-9a-f]{2}/[0-9a-f]{64}")


class NoSuchPicture(NotFound):
    """There is no such picture."""


@dataclass(eq=False)
class UploadTooLarge(Invalid):
    """A picture may have up to {most_mb} MB. Please send a smaller version of it."""

    most_mb: int
    field: str | None = "pictures"


class ReceivedPicture(msgspec.Struct, frozen=True):
    """A picture whose file is put away and whose row is still to be written."""

    sha256: bytes
    media_type: str
    width: int
    height: int
    bytes: int
    storage_key: str


class StoredPicture(msgspec.Struct, frozen=True):
    """A stored picture with its size in pixels and bytes."""

    id: UUID
    media_type: str
    width: int
    height: int
    bytes: int
    storage_key: str


_STORED = tuple(file_table.c[n] for n in StoredPicture.__struct_fields__)
_ADD = (
    upsert(file_table)
    .values(
        {
            n: bindparam(n, type_=file_table.c[n].type)
            for n in ("sha256", "media_type", "bytes", "width", "height", "storage_key")
        }
    )
    .on_conflict_do_update(index_elements=["sha256"], set_={"media_type": file_table.c.media_type})
    .returning(*_STORED)
)
_BY_ID = select(*_STORED).where(file_table.c.id == bindparam("file_id", type_=file_table.c.id.type))


_ROWLESS = text("""
    SELECT k.key FROM unnest(CAST(:keys AS text[]), CAST(:digests AS bytea[])) AS k(key, digest)
    WHERE NOT EXISTS (SELECT FROM files f WHERE f.sha256 = k.digest)
""")


async def receive_picture(files: FileStore, data: bytes, *, most_mb: int) -> ReceivedPicture:
    """Check and clean an uploaded picture and put its file away; `add_picture` then writes its row.

    Takes a processor and the file store for a while: ask first whether the sender may, and hold no transaction meanwhile. A file
    whose row is never written does no harm: the next one of the same content takes its place, or `rowless_pictures` finds it.
    Raises `UploadTooLarge`, `NotAPicture`, `PictureTooLarge`.
    """
    if len(data) > most_mb * 1024 * 1024:
        raise UploadTooLarge(most_mb)
    return await _put_away(files, await worked_on(check_picture, data))


async def add_picture(tx: Transaction, received: ReceivedPicture) -> StoredPicture:
    """Write the row of a received picture; the same content has one row."""
    return await tx.one(_ADD, into=StoredPicture, **msgspec.structs.asdict(received))


async def rowless_pictures(tx: Transaction, keys: Sequence[str]) -> list[str]:
    """Return those keys of picture files that no row names: what is left of uploads that were called off."""
    named = [key for key in keys if _IS_PICTURE.fullmatch(key)]
    digests = [bytes.fromhex(key.rpartition("/")[2]) for key in named]
    return [str(key) for key in await tx.values(_ROWLESS, keys=named, digests=digests)] if named else []


async def add_trusted_picture(tx: Transaction, files: FileStore, data: bytes) -> StoredPicture:
    """Store a picture that comes with the product as it is: it is measured, not written anew."""
    return await add_picture(tx, await _put_away(files, measure(data)))


async def _put_away(files: FileStore, picture: Picture) -> ReceivedPicture:
    digest = hashlib.sha256(picture.data).digest()
    key = f"{PICTURES}/{digest.hex()[:2]}/{digest.hex()}"
    await files.put(key, picture.data, picture.media_type)
    return ReceivedPicture(digest, picture.media_type, picture.width, picture.height, len(picture.data), key)


async def picture_rendition(db: Database, files: FileStore, file_id: UUID, width: int) -> bytes:
    """Return a stored picture as WebP at one of `WIDTHS`, made on first request. Raises `NoSuchPicture`."""
    if width not in WIDTHS:
        raise NoSuchPicture
    key = f"renditions/{file_id}/{width}.webp"
    try:
        return await files.get(key)
    except NotFound:
        pass
    stored = await db.read_maybe(_BY_ID, into=StoredPicture, file_id=file_id)
    if stored is None:
        raise NoSuchPicture
    made = await worked_on(rendition, await files.get(stored.storage_key), width)
    await files.put(key, made, "image/webp")
    return made
