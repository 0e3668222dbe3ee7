"""Uploaded pictures: what is taken, what is refused, and what is left of it."""

import io
import random
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from tradepost.core.pictures import (
    WIDTHS,
    NotAPicture,
    PictureTooLarge,
    check_picture,
    measure,
    rendition,
    worked_on,
)


def drawn(width: int = 60, height: int = 40, mode: str = "RGB", kind: str = "PNG", **options: Any) -> bytes:
    """Return a file: left half red, right half blue."""
    image = Image.new("RGB", (width, height), (220, 20, 20))
    image.paste((20, 20, 220), (width // 2, 0, width, height))
    file = io.BytesIO()
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def is_red(pixel: Any) -> bool:
    return bool(pixel[0] > 150 and pixel[2] < 100)


@pytest.mark.parametrize(
    ("kind", "mode", "media_type"),
    [
        ("JPEG", "RGB", "image/jpeg"),
        ("JPEG", "CMYK", "image/jpeg"),
        ("JPEG", "L", "image/jpeg"),
        ("PNG", "RGB", "image/png"),
        ("PNG", "P", "image/png"),
        ("PNG", "1", "image/png"),
        ("WEBP", "RGB", "image/webp"),
        ("GIF", "P", "image/webp"),
        ("AVIF", "RGB", "image/webp"),
    ],
)
def test_a_picture_of_each_kind_is_taken_and_drawn_anew(kind: str, mode: str, media_type: str) -> None:
    picture = check_picture(drawn(mode=mode, kind=kind))
    assert (picture.media_type, picture.width, picture.height) == (media_type, 60, 40)
    again = opened(picture.data)
    assert again.size == (60, 40)
    assert Image.MIME[again.format or ""] == media_type
    if mode not in {"L", "1"}:
        assert is_red(again.convert("RGB").getpixel((5, 20)))
        assert not is_red(again.convert("RGB").getpixel((55, 20)))


def test_transparency_stays() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (30, 30), (200, 10, 10, 0)).save(file, "PNG")
    assert opened(check_picture(file.getvalue()).data).convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]
    assert opened(rendition(file.getvalue(), 160)).convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]


def test_sixteen_bits_of_grey_become_eight() -> None:
    file = io.BytesIO()
    Image.new("I;16", (30, 30), 40_000).save(file, "PNG")
    assert opened(check_picture(file.getvalue()).data).getpixel((5, 5)) == (156, 156, 156)


def test_a_photo_is_turned_upright_and_tells_nothing_of_its_place() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    exif[0x010F] = "Secret Camera"
    exif.get_ifd(0x8825)[2] = (17.0, 49.0, 40.0)
    data = drawn(kind="JPEG", exif=exif, comment=b"at home")
    assert b"Secret Camera" in data
    picture = check_picture(data)
    assert (picture.width, picture.height) == (40, 60)
    assert b"Secret Camera" not in picture.data
    assert b"at home" not in picture.data
    assert not opened(picture.data).getexif()
    assert is_red(opened(picture.data).getpixel((20, 5)))
    assert opened(rendition(data, 160)).size == (40, 60)


def test_bytes_behind_the_picture_are_left_out() -> None:
    picture = check_picture(drawn(kind="JPEG") + b"<script>alert(1)</script>")
    assert b"script" not in picture.data


def test_only_the_first_frame_of_a_moving_picture_stays() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ((220, 20, 20), (20, 20, 220))]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    again = opened(check_picture(file.getvalue()).data)
    assert getattr(again, "n_frames", 1) == 1
    assert is_red(again.convert("RGB").getpixel((5, 5)))


def test_a_large_picture_is_made_smaller_in_its_proportions() -> None:
    picture = check_picture(drawn(3000, 1500, kind="JPEG"))
    assert (picture.width, picture.height) == (2000, 1000)


@pytest.mark.parametrize("width", WIDTHS)
def test_each_rendition_has_its_width(width: int) -> None:
    small = opened(rendition(drawn(1600, 1200, kind="JPEG"), width))
    assert small.format == "WEBP"
    assert small.size == (width, round(width * 0.75))


def test_a_narrow_picture_is_not_blown_up() -> None:
    assert opened(rendition(drawn(100, 50), 640)).size == (100, 50)


def test_a_width_that_no_page_asks_for_is_a_defect() -> None:
    with pytest.raises(ValueError, match="161"):
        rendition(drawn(), 161)


def test_our_own_picture_is_measured_and_left_as_it_is() -> None:
    data = drawn(kind="WEBP")
    picture = measure(data)
    assert (picture.media_type, picture.width, picture.height, picture.data) == ("image/webp", 60, 40, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x00" * 1000,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"GIF89a",
        b"\xff\xd8\xff" + b"a" * 300,
        b"BM" + b"0" * 100,
        drawn(kind="TIFF"),
        drawn(kind="BMP"),
        drawn(800, 600, kind="JPEG")[:2000],
        drawn(800, 600)[:-40],
    ],
)
def test_what_is_no_picture_is_refused_with_a_helpful_sentence(data: bytes) -> None:
    for work in (check_picture, lambda d: rendition(d, 160)):
        with pytest.raises(NotAPicture) as refused:
            work(data)
        assert "JPEG" in refused.value.message


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that says it is huge."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\x00" * 100_000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8000, 5001), (20_000, 20_000), (2_000_000, 2_000_000)])
def test_a_bomb_is_refused_by_its_size_before_it_is_decoded(size: tuple[int, int]) -> None:
    for work in (check_picture, measure, lambda d: rendition(d, 160)):
        with pytest.raises(PictureTooLarge) as refused:
            work(bomb(*size))
        assert "40 megapixels" in refused.value.message


def test_hostile_bytes_never_end_in_another_error() -> None:
    chance = random.Random(7)  # noqa: S311  # no secret
    originals = [drawn(kind=kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF")]
    for _ in range(300):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 12)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            assert check_picture(bytes(data)).width > 0
        except (NotAPicture, PictureTooLarge):
            continue


async def test_work_runs_in_a_thread_and_its_refusal_comes_back() -> None:
    assert (await worked_on(check_picture, drawn())).width == 60
    with pytest.raises(NotAPicture):
        await worked_on(check_picture, b"no")
