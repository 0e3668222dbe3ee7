"""Pictures as rows and stored files: what people upload, what presets bring, and the sizes that pages ask for.

Promises that a stored picture was decoded and written anew by us (uploads), that the same content is stored once, and that a
size is made when it is first asked for and kept.
"""

import hashlib
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert as upsert

from tradepost.catalog.tables import files as file_table
from tradepost.core.database import Database, Transaction
from tradepost.core.errors import NotFound
from tradepost.core.files import FileStore
from tradepost.core.pictures import Picture, check_picture, measure, rendition, worked_on

WIDTHS = (160, 320, 480, 640, 960, 1280)


class NoSuchPicture(NotFound):
    """There is no such picture."""


class StoredPicture(msgspec.Struct, frozen=True):
    """A stored picture with its size in pixels and bytes."""

    id: UUID
    width: int
    height: int
    bytes: int
    storage_key: str


_ADD = (
    upsert(file_table)
    .values(
        {
            n: bindparam(n, type_=file_table.c[n].type)
            for n in ("sha256", "media_type", "bytes", "width", "height", "storage_key")
        }
    )
    .on_conflict_do_update(index_elements=["sha256"], set_={"media_type": file_table.c.media_type})
    .returning(file_table.c.id, file_table.c.width, file_table.c.height, file_table.c.bytes, file_table.c.storage_key)
)
_BY_ID = select(
    file_table.c.id, file_table.c.width, file_table.c.height, file_table.c.bytes, file_table.c.storage_key
).where(file_table.c.id == bindparam("file_id", type_=file_table.c.id.type))


async def add_picture(tx: Transaction, files: FileStore, data: bytes) -> StoredPicture:
    """Check, clean and store an uploaded picture. Raises `NotAPicture`, `PictureTooLarge`."""
    return await _store(tx, files, await worked_on(check_picture, data))


async def add_trusted_picture(tx: Transaction, files: FileStore, data: bytes) -> StoredPicture:
    """Store a picture that comes with the product as it is: it is measured, not written anew."""
    return await _store(tx, files, measure(data))


async def _store(tx: Transaction, files: FileStore, picture: Picture) -> StoredPicture:
    digest = hashlib.sha256(picture.data).digest()
    key = f"pictures/{digest.hex()[:2]}/{digest.hex()}"
    await files.put(key, picture.data, picture.media_type)
    return await tx.one(
        _ADD, into=StoredPicture, sha256=digest, media_type=picture.media_type, bytes=len(picture.data),
        width=picture.width, height=picture.height, storage_key=key,
    )  # fmt: skip


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
