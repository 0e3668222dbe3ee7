"""Pictures that strangers send: checked before they are decoded, cleaned, and made in the sizes pages ask for.

Promises that what comes out was drawn by us: no metadata (place of the photo, camera, editor), no second payload in the same
file, upright, at most 2000 pixels a side. Content decides what a file is, never its name; of a moving picture the first frame
stays. The functions keep a processor busy for tens of milliseconds: asynchronous code calls them through `worked_on`.
Knows no table and no store.
"""

import asyncio
import io
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from PIL import Image, ImageCms, ImageOps

from tradepost.core.errors import Invalid

P = ParamSpec("P")
R = TypeVar("R")

WIDTHS: Final = (160, 320, 480, 640, 960, 1280)
LARGEST_SIDE: Final = 2000
MOST_MEGAPIXELS: Final = 40
_MEDIA_TYPES: Final = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
}
_WRITTEN_AS: Final = {"JPEG": "JPEG", "PNG": "PNG"}  # everything else becomes WebP, which all browsers show
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"quality": 88, "optimize": True, "progressive": True},
    "PNG": {"compress_level": 6},
    "WEBP": {"quality": 82, "method": 4},
}
# Half the processors: pages are served from the other half while somebody uploads an album.
_workers = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2), thread_name_prefix="pictures")


@dataclass(eq=False)
class NotAPicture(Invalid):
    """This file is not a picture we can read. Please send a JPEG, PNG, WebP, GIF or AVIF file."""

    field: str | None = None


@dataclass(eq=False)
class PictureTooLarge(Invalid):
    """This picture has more than {megapixels} megapixels. Please send a smaller version of it."""

    megapixels: int = MOST_MEGAPIXELS
    field: str | None = None


class Picture(msgspec.Struct, frozen=True):
    """A picture as it is to be stored, with its size in pixels."""

    media_type: str
    width: int
    height: int
    data: bytes


async def worked_on(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run one of the functions below in a thread, with half the processors at most for all pictures together."""
    return await asyncio.get_running_loop().run_in_executor(_workers, partial(work, *args, **kwargs))


def check_picture(data: bytes) -> Picture:
    """Return an upload drawn anew: upright, sRGB, without metadata, at most 2000 pixels a side.

    Raises `NotAPicture`, `PictureTooLarge`.
    """
    image, kind = _decoded(data)
    drawn = _fitted(_in_srgb(image), LARGEST_SIDE, LARGEST_SIDE)
    written_as = _WRITTEN_AS.get(kind, "WEBP")
    return Picture(_MEDIA_TYPES[written_as], drawn.width, drawn.height, _written(drawn, written_as))


def measure(data: bytes) -> Picture:
    """Return a picture of our own as it is, with its type and size. Raises `NotAPicture`, `PictureTooLarge`."""
    with _opened(data) as image:
        return Picture(_MEDIA_TYPES[image.format or ""], image.width, image.height, data)


def rendition(data: bytes, width: int) -> bytes:
    """Return a picture as WebP, `width` pixels wide (one of `WIDTHS`); a narrower one keeps its size.

    Raises `NotAPicture`, `PictureTooLarge`.
    """
    if width not in WIDTHS:
        raise ValueError(f"no page asks for pictures {width} pixels wide")
    image, _ = _decoded(data, draft=2 * width)
    return _written(_fitted(_in_srgb(image), width, 4 * width), "WEBP")


def _opened(data: bytes) -> Image.Image:
    """Open a picture and look at its size; nothing of it is decoded yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures and odd metadata; the size decides below
            image = Image.open(io.BytesIO(data), formats=tuple(_MEDIA_TYPES))
    except Image.DecompressionBombError:
        raise PictureTooLarge from None
    except Exception:  # noqa: BLE001  # on hostile bytes a decoder raises whatever it likes
        raise NotAPicture from None
    if image.width * image.height > MOST_MEGAPIXELS * 1_000_000:
        image.close()
        raise PictureTooLarge
    return image


def _decoded(data: bytes, *, draft: int | None = None) -> tuple[Image.Image, str]:
    """Return the first frame, upright, and what kind of file it came from.

    `draft` is a side in pixels that is enough: a JPEG decoder then does a quarter or a sixteenth of the work.
    """
    with _opened(data) as image:
        kind = image.format or ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if draft and kind == "JPEG":
                    image.draft(None, (draft, draft))
                image.load()
                return ImageOps.exif_transpose(image), kind
        except Exception:  # noqa: BLE001  # as above
            raise NotAPicture from None


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return an image of eight bits a channel in sRGB, with transparency where it has some."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16 bits of grey
        return image.convert("I").point(lambda grey: grey * (1 / 256)).convert("L").convert("RGB")
    has_alpha = image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info
    if profile and image.mode in {"RGB", "RGBA", "CMYK", "L"}:
        image = _converted(image, profile, "RGBA" if image.mode == "RGBA" else "RGB")
    return image.convert("RGBA" if has_alpha else "RGB")


def _converted(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    """Return an image with its colours as its profile means them; a broken profile is as good as none."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image


def _fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return an image no larger than the given size, in its own proportions."""
    image.thumbnail((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def _written(image: Image.Image, kind: str) -> bytes:
    """Return the bytes of a file that holds the pixels and nothing else."""
    clean = Image.new(image.mode, image.size)
    clean.paste(image)
    target = io.BytesIO()
    clean.save(target, kind, **_OPTIONS[kind])
    return target.getvalue()
