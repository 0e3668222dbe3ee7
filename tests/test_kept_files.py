"""What the store keeps beside its rows: files of uploads that were called off are swept, the site map is made once."""

import io
from datetime import timedelta

import pytest
from PIL import Image
from sqlalchemy import text

from tests.shop import Shop
from tests.test_after_sale import browser_of
from tradepost.catalog.pictures import add_picture, receive_picture
from tradepost.core.database import SYSTEM
from tradepost.core.errors import Conflict
from tradepost.flows.sweep_files import sweep_files


def drawn(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(out, "PNG")
    return out.getvalue()


class CalledOff(Conflict):
    """Only here: the change around the upload does not come about."""


async def test_files_of_uploads_that_were_called_off_are_swept(shop: Shop) -> None:
    files = shop.store.files
    kept, lost = [await receive_picture(files, drawn(colour), most_mb=1) for colour in ("red", "blue")]
    async with shop.store.db.transaction(actor=SYSTEM) as tx:
        await add_picture(tx, kept)

    async def called_off() -> None:
        async with shop.store.db.transaction(actor=SYSTEM) as tx:
            await add_picture(tx, lost)
            raise CalledOff

    with pytest.raises(CalledOff):
        await called_off()
    await files.put("pictures/notes.txt", b"somebody's own", "text/plain")
    assert await sweep_files(shop.store) == 0  # it may still be on its way into a row
    assert await sweep_files(shop.store, left_alone=timedelta(seconds=-5)) == 1
    assert [await files.exists(key) for key in (kept.storage_key, lost.storage_key, "pictures/notes.txt")] == [
        True,
        False,
        True,
    ]


async def test_the_site_map_is_made_once_an_hour(shop: Shop) -> None:
    await shop.goods("Hammer")
    browser = await browser_of(shop, shop.buyer)
    first = await browser.get("/sitemap.xml")
    await shop.run(text("UPDATE listings SET status = 'inactive'"))
    again = await browser.get("/sitemap.xml")
    assert "/l/hammer-" in first.text
    assert (first.text == again.text, int(first.headers["x-query-count"]) > 0, int(again.headers["x-query-count"])) == (
        True,
        True,
        0,
    )
