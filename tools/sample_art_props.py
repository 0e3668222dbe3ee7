"""Things that no emoji shows, drawn for `compose_sample_art.py`: crates, sacks, packets, jars.

A prop's name stands where an emoji may. After a colon comes what is printed on it, after an `@` its colour:
`crate`, `sack:🌽`, `sack:🌱@#4f7a3a`, `packet:🥕@#f2b632`, `drum:💧@#2563eb`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

Load = Callable[[str], Image.Image]
Colour = tuple[int, int, int]


def is_prop(name: str) -> bool:
    """Whether the name is a prop rather than an emoji."""
    return name.partition("@")[0].partition(":")[0] in _DRAWERS


def draw(name: str, load: Load) -> Image.Image:
    """The prop on a transparent ground; `load` fetches the emoji printed on it."""
    plain, _, tint = name.partition("@")
    kind, _, emblem = plain.partition(":")
    drawer, default = _DRAWERS[kind]
    red, green, blue = ImageColor.getrgb(tint or default)[:3]
    return drawer((red, green, blue), load(emblem) if emblem else None)


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _rounded(size: tuple[int, int], box: tuple[int, int, int, int], radius: int) -> Image.Image:
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius, fill=255)
    return mask


def _rounded_off(mask: Image.Image, radius: int) -> Image.Image:
    """The shape with its corners softened, its edge still crisp."""
    return mask.filter(ImageFilter.GaussianBlur(radius)).point([max(0, min(255, (v - 117) * 12)) for v in range(256)])


def _volume(mask: Image.Image, colour: Colour, depth: float = 1.0) -> Image.Image:
    """Give a flat shape body: light from the upper left, shade at the lower right and around the rim."""
    light, dark = _mix(colour, (255, 255, 255), 0.34 * depth), _mix(colour, (24, 12, 8), 0.42 * depth)
    width, height = mask.size
    down = Image.linear_gradient("L").resize(mask.size)
    across = Image.linear_gradient("L").rotate(90).resize(mask.size)
    slope = Image.blend(down, across, 0.45)
    body = Image.composite(
        Image.new("RGB", mask.size, _mix(colour, dark, 0.55)),
        Image.new("RGB", mask.size, _mix(colour, light, 0.6)),
        slope,
    )
    soft = max(4, round(min(width, height) * 0.045))
    inner = ImageChops.multiply(ImageChops.invert(mask.filter(ImageFilter.GaussianBlur(soft))), mask)
    low = ImageChops.offset(inner, -soft // 2, -soft // 2)
    body.paste(dark, (0, 0), ImageChops.multiply(low, mask).point([round(v * 0.75) for v in range(256)]))
    high = ImageChops.multiply(
        ImageChops.invert(ImageChops.offset(mask, soft, soft).filter(ImageFilter.GaussianBlur(soft))), mask
    )
    body.paste(light, (0, 0), high.point([round(v * 0.55) for v in range(256)]))
    body.putalpha(mask)
    return body


def _emblem(face: Image.Image, emblem: Image.Image | None, centre: tuple[int, int], longest: int) -> None:
    if emblem is None:
        return
    factor = longest / max(emblem.size)
    small = emblem.resize((round(emblem.width * factor), round(emblem.height * factor)), Image.Resampling.LANCZOS)
    face.alpha_composite(small, (centre[0] - small.width // 2, centre[1] - small.height // 2))


def _crate(colour: Colour, emblem: Image.Image | None) -> Image.Image:
    """The front of a slatted wooden crate."""
    size = (1200, 480)
    image = Image.new("RGBA", size)
    gap = Image.new("RGBA", size)
    ImageDraw.Draw(gap).rectangle((40, 30, 1160, 450), fill=(58, 36, 22, 255))
    image.alpha_composite(gap)
    for i in range(3):
        top = 12 + i * 156
        tone = _mix(colour, (255, 240, 210), 0.06 * ((i * 2) % 3))
        image.alpha_composite(_volume(_rounded(size, (34, top, 1166, top + 136), 20), tone, 0.62))
        image.alpha_composite(_grain(size, top, i))
    for left in (26, 1090):
        post = _volume(_rounded(size, (left, 0, left + 84, 478), 18), _mix(colour, (40, 20, 10), 0.08), 0.75)
        image.alpha_composite(post)
        pins = ImageDraw.Draw(image)
        for i in range(3):
            middle = 80 + i * 156
            pins.ellipse((left + 32, middle - 10, left + 52, middle + 10), fill=(92, 70, 54, 255))
            pins.ellipse((left + 34, middle - 9, left + 44, middle + 1), fill=(206, 190, 172, 255))
    _emblem(image, emblem, (600, 240), 250)
    return image


def _grain(size: tuple[int, int], top: int, turn: int) -> Image.Image:
    layer = Image.new("RGBA", size)
    pen = ImageDraw.Draw(layer)
    for i in range(4):
        y = top + 26 + i * 28 + (turn * 7 + i * 5) % 9
        left = 130 + (turn * 170 + i * 233) % 400
        pen.line((left, y, left + 260 + (i * 97) % 260, y + (i % 3) - 1), fill=(70, 38, 14, 46), width=5)
    return layer.filter(ImageFilter.GaussianBlur(1.6))


def _sack(colour: Colour, emblem: Image.Image | None) -> Image.Image:
    """A filled woven sack, sewn shut, with a printed panel."""
    size = (820, 1060)
    shape = Image.new("L", (size[0] * 2, size[1] * 2), 0)
    outline = [
        (410 + side * (322 + 52 * math.sin(math.pi * (y - 90) / 1100)), y)
        for side in (-1, 1)
        for y in range(90, 1000, 10)
    ]
    outline = outline[:91] + [(410 + side * 290, 1034) for side in (-1, 1)] + outline[91:][::-1]
    ImageDraw.Draw(shape).polygon([(x * 2, y * 2) for x, y in outline], fill=255)
    shape = _rounded_off(shape, 44).resize(size, Image.Resampling.LANCZOS)
    image = _volume(shape, colour, 0.9)
    hem = _volume(_rounded(size, (96, 34, 724, 116), 26), _mix(colour, (255, 255, 255), 0.2), 0.7)
    image.alpha_composite(hem)
    stitches = ImageDraw.Draw(image)
    for x in range(120, 700, 34):
        stitches.line((x, 76, x + 18, 76), fill=(*_mix(colour, (30, 18, 10), 0.55), 255), width=7)
    panel = _volume(_rounded(size, (190, 330, 630, 830), 44), (252, 248, 238), 0.28)
    image.alpha_composite(panel)
    band = ImageDraw.Draw(image)
    band.rounded_rectangle((236, 716, 584, 744), 14, fill=(*_mix(colour, (20, 30, 16), 0.25), 255))
    band.rounded_rectangle((290, 764, 530, 784), 10, fill=(*_mix(colour, (255, 255, 255), 0.35), 255))
    _emblem(image, emblem, (410, 530), 290)
    return image


def _packet(colour: Colour, emblem: Image.Image | None) -> Image.Image:
    """A paper packet of seed with a crimped top and a picture on it."""
    size = (720, 980)
    image = _volume(_rounded(size, (40, 30, 680, 960), 34), colour, 0.5)
    pen = ImageDraw.Draw(image)
    for x in range(58, 668, 22):
        pen.line((x, 48, x, 104), fill=(*_mix(colour, (20, 20, 10), 0.28), 150), width=6)
    pen.line((40, 120, 680, 120), fill=(*_mix(colour, (20, 20, 10), 0.3), 160), width=5)
    window = _volume(_rounded(size, (96, 176, 624, 706), 60), (253, 249, 240), 0.22)
    image.alpha_composite(window)
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((150, 764, 570, 806), 20, fill=(255, 252, 244, 240))
    pen.rounded_rectangle((220, 838, 500, 866), 14, fill=(255, 252, 244, 170))
    _emblem(image, emblem, (360, 441), 420)
    return image


def _drum(colour: Colour, emblem: Image.Image | None) -> Image.Image:
    """A plastic jerrycan with handle, cap and label."""
    size = (760, 1000)
    shape = Image.new("L", size, 0)
    pen = ImageDraw.Draw(shape)
    pen.rounded_rectangle((60, 230, 700, 980), 90, fill=255)
    pen.polygon([(60, 400), (200, 130), (640, 130), (700, 260), (700, 420), (60, 420)], fill=255)
    pen.rounded_rectangle((300, 170, 570, 264), 46, fill=0)
    shape = _rounded_off(shape, 16)
    image = Image.new("RGBA", size)
    image.alpha_composite(_volume(_rounded(size, (118, 40, 290, 190), 26), _mix(colour, (20, 16, 20), 0.55), 0.8))
    image.alpha_composite(_volume(shape, colour, 0.85))
    image.alpha_composite(_volume(_rounded(size, (140, 430, 620, 860), 40), (252, 250, 244), 0.24))
    band = ImageDraw.Draw(image)
    band.rounded_rectangle((200, 776, 560, 806), 15, fill=(*_mix(colour, (20, 20, 20), 0.2), 255))
    _emblem(image, emblem, (380, 600), 270)
    return image


_DRAWERS: dict[str, tuple[Callable[[Colour, Image.Image | None], Image.Image], str]] = {
    "crate": (_crate, "#c98f4e"),
    "sack": (_sack, "#e9dcc0"),
    "packet": (_packet, "#4f7a3a"),
    "drum": (_drum, "#2f6f8f"),
}
