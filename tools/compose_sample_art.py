"""Compose a store's sample pictures from 3D emoji on tinted grounds.

The pieces are the 256 px pictures of the npm package `@lobehub/fluent-emoji-3d` 1.1.0 (MIT). Fetch and unpack it once:

    npm pack @lobehub/fluent-emoji-3d@1.1.0 && tar xf lobehub-fluent-emoji-3d-1.1.0.tgz
    python tools/compose_sample_art.py tese --assets package/assets
    python tools/compose_sample_art.py tese --assets package/assets --only maize-crate,eggs --sheet sheet.png

It reads `tools/sample_art/<store>.toml` and writes `src/tradepost/presets/<store>/sample/images/<name>.webp`.
The same recipe always gives the same picture: every chance comes from the picture's name and its `seed`.

A recipe file:

    quality = 76                                 # of the WebP, 82 if left out: less where there are many pictures

    [grounds]                                    # name = [wall, floor]; one pair for each category keeps a grid calm
    night = ["#4c1d95", "#2e1065", "#8b5cf6"]    # a third colour is that of the light, white if left out; deep grounds want one
    leaf = ["#eef4e2", "#cfe0b4"]

    [pictures]
    tomatoes      = { emoji = "🍅", layout = "pile", ground = "leaf" }
    tomato-basket = { emoji = ["🍅", "🌿"], layout = "pair", ground = "leaf", light = "right" }
    honey         = { emoji = "🍯", layout = "plinth", ground = "leaf", zoom = 0.9 }
    red-drill     = { emoji = "1f6e0", layout = "float", ground = "leaf", hue = -40, aspect = "4:5" }
    by-hand       = { ground = "leaf", pieces = [
        { emoji = "🌽", scale = 0.5, x = 0.4, y = 0.84, angle = -8 },
        { emoji = "🍃", scale = 0.3, x = 0.7, y = 0.8, flip = true },
    ] }

An emoji is the character itself or its code points ("1f469-200d-1f33e"). Prop names of `sample_art_props` ("crate",
"sack:🌽", ...) and drawings of `sample_art_drawings` ("draw:hoe") stand wherever an emoji may. `layout` places the emoji; a list is dealt in turn, so a pile of
["🍎", "🍏"] is mixed. Layouts that stand on a floor: hero, pair, trio, row, pile, heap, crowd, queue, plinth, disc,
float, corner, crate. Layouts seen from above, without a horizon: scatter, diagonal, ring, spread.

Keys of a picture: emoji, layout, pieces, ground, light (left, right, top), aspect ("1:1", "4:5"), zoom, rise (moves all
up, a share of the height), hue, saturation, brightness, angle (added to all), mirror, seed, upright (no tilt: for
vehicles and whatever stands on a flat foot), horizon (share of the height), flat (seen from above, for `pieces`).
Keys of a piece: emoji, scale (longer side as a share of the picture's width), x, y (foot when standing, centre when
flat; shares), angle (degrees, counter-clockwise), flip, lift (height over the floor), grounded (false: it rests on
other pieces and throws no shadow on the floor), hue, saturation, brightness.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageEnhance, ImageFilter

import sample_art_drawings as drawings
import sample_art_props as props

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 1000
QUALITY = 82
LIGHTS = {"left": 1.0, "right": -1.0, "top": 0.15}
"""Where the light comes from, and which way and how far the shadows lean."""

Colour = tuple[int, int, int]


class RecipeError(Exception):
    """The recipe cannot be drawn; the message names the picture and the key."""


@dataclass(frozen=True)
class Piece:
    """One emoji or prop on the picture. Lengths are shares of the picture's width, `y` of its height."""

    emoji: str
    scale: float
    x: float
    y: float
    angle: float = 0.0
    flip: bool = False
    lift: float = 0.0
    grounded: bool = True
    hue: float = 0.0
    saturation: float = 1.0
    brightness: float = 1.0


@dataclass(frozen=True)
class Picture:
    """A recipe after defaults: everything needed to draw, nothing left to chance."""

    name: str
    pieces: tuple[Piece, ...]
    wall: Colour
    floor: Colour
    glow: Colour
    light: str
    flat: bool
    backdrop: str
    horizon: float
    size: tuple[int, int]


Deal = Callable[[int], str]
Layout = Callable[[Deal, Random], list[Piece]]


def hero(deal: Deal, dice: Random) -> list[Piece]:
    """One piece, large."""
    return [Piece(deal(0), 0.64, 0.5 + dice.uniform(-0.02, 0.02), 0.845, dice.uniform(-5, 5))]


def pair(deal: Deal, dice: Random) -> list[Piece]:
    """A large piece in front, another behind its shoulder."""
    return [
        Piece(deal(1), 0.44, 0.685, 0.755, dice.uniform(-9, -2)),
        Piece(deal(0), 0.57, 0.375, 0.87, dice.uniform(1, 7)),
    ]


def trio(deal: Deal, dice: Random) -> list[Piece]:
    """Two behind, one in front."""
    return [
        Piece(deal(1), 0.41, 0.265, 0.745, dice.uniform(3, 10)),
        Piece(deal(2), 0.41, 0.735, 0.745, dice.uniform(-10, -3)),
        Piece(deal(0), 0.5, 0.5, 0.885, dice.uniform(-4, 4)),
    ]


def row(deal: Deal, dice: Random) -> list[Piece]:
    """Three side by side, as on a shelf."""
    return [Piece(deal(i), 0.31, 0.185 + 0.315 * i, 0.745 + 0.02 * (i % 2), dice.uniform(-6, 6)) for i in range(3)]


def pile(deal: Deal, dice: Random) -> list[Piece]:
    """Six pieces stacked three, two, one."""
    spots = [(0.5, 0.585), (0.36, 0.73), (0.64, 0.73), (0.22, 0.87), (0.78, 0.87), (0.5, 0.885)]
    return [
        Piece(
            deal(i), 0.345, x + dice.uniform(-0.01, 0.01), y, dice.uniform(-22, 22), dice.random() < 0.4, grounded=i > 2
        )
        for i, (x, y) in enumerate(spots)
    ]


def heap(deal: Deal, dice: Random) -> list[Piece]:
    """Three pieces leaning together, one on top of two."""
    return [
        Piece(deal(2), 0.42, 0.5, 0.655, dice.uniform(-12, 12), grounded=False),
        Piece(deal(1), 0.46, 0.315, 0.855, dice.uniform(4, 16)),
        Piece(deal(0), 0.46, 0.675, 0.875, dice.uniform(-16, -4)),
    ]


def crowd(deal: Deal, dice: Random) -> list[Piece]:
    """Seven standing in three ranks, the front ones larger."""
    spots = [(0.36, 0.66, 0.24), (0.64, 0.66, 0.24), (0.18, 0.77, 0.29), (0.5, 0.78, 0.29), (0.82, 0.77, 0.29)]
    spots += [(0.32, 0.9, 0.35), (0.68, 0.9, 0.35)]
    return [
        Piece(deal(i), scale, x + dice.uniform(-0.02, 0.02), y, dice.uniform(-5, 5), dice.random() < 0.5)
        for i, (x, y, scale) in enumerate(spots)
    ]


def queue(deal: Deal, dice: Random) -> list[Piece]:
    """Three in a line that recedes."""
    return [
        Piece(deal(2), 0.3, 0.755, 0.68, dice.uniform(-3, 3)),
        Piece(deal(1), 0.38, 0.555, 0.765, dice.uniform(-3, 3)),
        Piece(deal(0), 0.48, 0.305, 0.88, dice.uniform(-3, 3)),
    ]


def plinth(deal: Deal, dice: Random) -> list[Piece]:
    """One piece on a round stand."""
    return [Piece(deal(0), 0.52, 0.5, 0.775, dice.uniform(-4, 4))]


def float_(deal: Deal, dice: Random) -> list[Piece]:
    """One piece in the air, tilted."""
    return [Piece(deal(0), 0.66, 0.5, 0.79, dice.uniform(9, 15) * dice.choice((-1, 1)), lift=0.1)]


def corner(deal: Deal, dice: Random) -> list[Piece]:
    """A large piece that leaves the picture at the lower right, a small one at the left."""
    return [
        Piece(deal(1), 0.34, 0.215, 0.785, dice.uniform(2, 10)),
        Piece(deal(0), 0.74, 0.735, 0.965, dice.uniform(-12, -5)),
    ]


def crate(deal: Deal, dice: Random) -> list[Piece]:
    """A wooden crate, filled."""
    back = [(0.335, 0.605), (0.5, 0.58), (0.665, 0.605)]
    front = [(0.265, 0.7), (0.42, 0.685), (0.58, 0.69), (0.735, 0.7)]
    heaped = [
        Piece(deal(i), 0.27, x, y, dice.uniform(-24, 24), dice.random() < 0.4, grounded=False)
        for i, (x, y) in enumerate(back + front)
    ]
    return [*heaped, Piece("crate", 0.78, 0.5, 0.88)]


def scatter(deal: Deal, dice: Random) -> list[Piece]:
    """Nine pieces strewn over the ground, the outer ones cut by the edge."""
    spots = [
        (0.07, 0.13),
        (0.47, 0.06),
        (0.9, 0.17),
        (0.24, 0.43),
        (0.66, 0.39),
        (0.98, 0.62),
        (0.04, 0.79),
        (0.43, 0.76),
        (0.8, 0.9),
    ]
    return [
        Piece(deal(i), 0.31, x + dice.uniform(-0.02, 0.02), y + dice.uniform(-0.02, 0.02), dice.uniform(-60, 60))
        for i, (x, y) in enumerate(spots)
    ]


def diagonal(deal: Deal, dice: Random) -> list[Piece]:
    """Three on a diagonal, seen from above."""
    return [Piece(deal(i), 0.33, 0.235 + 0.265 * i, 0.765 - 0.265 * i, dice.uniform(-14, 14)) for i in range(3)]


def ring(deal: Deal, dice: Random) -> list[Piece]:
    """One in the middle, six around it."""
    turn = dice.uniform(0, math.pi / 3)
    around = [
        Piece(
            deal(i + 1),
            0.25,
            0.5 + 0.345 * math.cos(turn + i * math.pi / 3),
            0.5 + 0.345 * math.sin(turn + i * math.pi / 3),
            dice.uniform(-30, 30),
        )
        for i in range(6)
    ]
    return [*around, Piece(deal(0), 0.4, 0.5, 0.5, dice.uniform(-8, 8))]


def spread(deal: Deal, dice: Random) -> list[Piece]:
    """Four in a loose square, laid out neatly."""
    spots = [(0.29, 0.29), (0.71, 0.29), (0.29, 0.71), (0.71, 0.71)]
    return [Piece(deal(i), 0.37, x, y, dice.uniform(-9, 9)) for i, (x, y) in enumerate(spots)]


STANDING: dict[str, Layout] = {
    "hero": hero, "pair": pair, "trio": trio, "row": row, "pile": pile, "heap": heap, "crowd": crowd, "queue": queue,
    "plinth": plinth, "disc": hero, "float": float_, "corner": corner, "crate": crate,
}  # fmt: skip
FLAT: dict[str, Layout] = {"scatter": scatter, "diagonal": diagonal, "ring": ring, "spread": spread}
UPRIGHT = {"hero", "pair", "trio", "row", "crowd", "queue", "plinth", "disc", "crate", "corner"}
"""Layouts in which a prop stands straight on its foot unless the recipe turns it."""
BACKDROPS = {"plinth": "plinth", "disc": "disc"}
PICTURE_KEYS = {
    "emoji", "layout", "pieces", "ground", "light", "aspect", "zoom", "hue", "saturation", "brightness", "angle",
    "mirror", "seed", "horizon", "flat", "upright", "rise",
}  # fmt: skip


def read_recipes(path: Path) -> list[Picture]:
    """Every picture of a recipe file, checked.

    Raises:
        RecipeError: for an unknown key, layout, ground or light.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    grounds = {name: _ground(colours) for name, colours in content["grounds"].items()}
    return [plan(name, recipe, grounds) for name, recipe in content["pictures"].items()]


def read_quality(path: Path) -> int:
    """The WebP quality that the recipe file asks for."""
    return int(tomllib.loads(path.read_text(encoding="utf-8")).get("quality", QUALITY))


def choose(pictures: list[Picture], names: set[str]) -> list[Picture]:
    """The pictures with these names; all of them when there are none.

    Raises:
        RecipeError: for a name that no recipe has.
    """
    if missing := names - {picture.name for picture in pictures}:
        raise RecipeError(f"no such pictures: {sorted(missing)}")
    return [picture for picture in pictures if not names or picture.name in names]


def plan(name: str, recipe: dict[str, Any], grounds: dict[str, tuple[Colour, Colour, Colour]]) -> Picture:
    """Turn one recipe into a picture with every piece placed."""
    if unknown := set(recipe) - PICTURE_KEYS:
        raise RecipeError(f"{name}: unknown keys {sorted(unknown)}")
    if recipe.get("ground") not in grounds:
        raise RecipeError(f"{name}: ground {recipe.get('ground')!r} is not one of {sorted(grounds)}")
    light = recipe.get("light", "left")
    if light not in LIGHTS:
        raise RecipeError(f"{name}: light {light!r} is not one of {sorted(LIGHTS)}")
    layout = recipe.get("layout", "hero")
    across, down = (int(part) for part in recipe.get("aspect", "1:1").split(":"))
    wall, floor, glow = grounds[recipe["ground"]]
    return Picture(
        name=name,
        pieces=tuple(_place(name, recipe, layout)),
        wall=wall,
        floor=floor,
        glow=glow,
        light=light,
        flat=bool(recipe.get("flat", layout in FLAT and "pieces" not in recipe)),
        backdrop=BACKDROPS.get(layout, ""),
        horizon=float(recipe.get("horizon", 0.62)),
        size=(WIDTH, WIDTH * down // across),
    )


def _place(name: str, recipe: dict[str, Any], layout: str) -> Iterable[Piece]:
    if "pieces" in recipe:
        known = {field.name for field in fields(Piece)}
        for piece in recipe["pieces"]:
            if unknown := set(piece) - known:
                raise RecipeError(f"{name}: unknown keys of a piece {sorted(unknown)}")
        pieces = [Piece(**piece) for piece in recipe["pieces"]]
    else:
        if layout not in STANDING | FLAT:
            raise RecipeError(f"{name}: layout {layout!r} is not one of {sorted(STANDING | FLAT)}")
        named = recipe["emoji"]
        emoji = [named] if isinstance(named, str) else list(named)
        dice = Random(f"{name}/{recipe.get('seed', 0)}")  # noqa: S311 - arranges pictures, guards nothing
        pieces = (STANDING | FLAT)[layout](lambda i: emoji[i % len(emoji)], dice)
    return (_adjust(piece, recipe) for piece in pieces)


def _adjust(piece: Piece, recipe: dict[str, Any]) -> Piece:
    """Apply what a recipe says of all its pieces. A crate keeps its colours."""
    mirror = bool(recipe.get("mirror", False))
    made = props.is_prop(piece.emoji) or (drawings.is_drawing(piece.emoji) and "pieces" not in recipe)
    stands = recipe.get("upright", False) or (made and recipe.get("layout", "hero") in UPRIGHT)
    angle = (0.0 if stands else piece.angle) + recipe.get("angle", 0.0)
    zoom = recipe.get("zoom", 1.0)
    keeps_colour = props.is_prop(piece.emoji)
    return replace(
        piece,
        scale=piece.scale * zoom,
        x=1 - piece.x if mirror else piece.x,
        y=piece.y - recipe.get("rise", 0.0),
        angle=-angle if mirror else angle,
        hue=piece.hue + (0 if keeps_colour else recipe.get("hue", 0.0)),
        saturation=piece.saturation * (1 if keeps_colour else recipe.get("saturation", 1.0)),
        brightness=piece.brightness * (1 if keeps_colour else recipe.get("brightness", 1.0)),
    )


def _ground(colours: list[str]) -> tuple[Colour, Colour, Colour]:
    """Wall, floor and light."""
    wall, floor, *light = colours
    return _colour(wall), _colour(floor), _colour(light[0] if light else "#fff")


def _colour(text: str) -> Colour:
    red, green, blue = ImageColor.getrgb(text)[:3]
    return red, green, blue


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _darker(colour: Colour, share: float) -> Colour:
    """Darker and a little richer, as a shade on coloured paper is."""
    mean = sum(colour) / 3
    red, green, blue = (max(0, min(255, round((c + (c - mean) * 0.6) * (1 - share)))) for c in colour)
    return red, green, blue


def _ramp(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    mask = Image.linear_gradient("L").resize(size, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def draw_ground(picture: Picture) -> Image.Image:
    """Wall, floor and light; from above, one surface."""
    width, height = picture.size
    if picture.flat:
        ground = _ramp(picture.size, _mix(picture.wall, picture.floor, 0.35), _mix(picture.wall, picture.floor, 0.8))
    else:
        ground = _ramp(picture.size, _mix(picture.wall, picture.glow, 0.35), picture.wall)
        edge = round(height * picture.horizon)
        floor = _ramp((width, height - edge), _mix(picture.floor, picture.wall, 0.25), _darker(picture.floor, 0.07))
        mask = Image.new("L", picture.size, 0)
        mask.paste(255, (0, edge, width, height))
        surface = Image.new("RGB", picture.size)
        surface.paste(floor, (0, edge))
        surface.paste(floor.crop((0, 0, width, 1)).resize((width, edge)), (0, 0))
        ground = Image.composite(surface, ground, mask.filter(ImageFilter.GaussianBlur(9)))
    if picture.backdrop == "disc":
        _draw_disc(ground, picture)
    _shine(ground, picture)
    if picture.backdrop == "plinth":
        _draw_plinth(ground, picture)
    return ground


def _shine(ground: Image.Image, picture: Picture) -> None:
    """A soft pool of light where the light comes from, and a slight fall-off opposite."""
    width, height = picture.size
    lean = LIGHTS[picture.light]
    pool = ImageChops.invert(Image.radial_gradient("L")).resize((width * 2, height * 2), Image.Resampling.BICUBIC)
    centre = (width * (0.5 - 0.32 * lean), height * 0.22)
    left, top = round(width - centre[0]), round(height - centre[1])
    pool = pool.crop((left, top, left + width, top + height))
    ground.paste(picture.glow, (0, 0), pool.point([round(v * 0.4) for v in range(256)]))
    shade = ImageChops.invert(pool).point([round(max(0, v - 70) * 0.14) for v in range(256)])
    ground.paste(_darker(picture.floor, 0.5), (0, 0), shade)


def _smooth_ellipse(size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    mask = Image.new("L", (size[0] * 2, size[1] * 2), 0)
    ImageDraw.Draw(mask).ellipse([v * 2 for v in box], fill=255)
    return mask.resize(size, Image.Resampling.LANCZOS)


def _draw_disc(ground: Image.Image, picture: Picture) -> None:
    """A large paler circle behind the piece, cut by the horizon like a low sun."""
    width, height = picture.size
    radius = width * 0.36
    middle = height * 0.47
    mask = _smooth_ellipse(picture.size, (width / 2 - radius, middle - radius, width / 2 + radius, middle + radius))
    mask.paste(0, (0, round(height * picture.horizon), width, height))
    tint = _ramp(picture.size, _mix(picture.floor, picture.glow, 0.2), _darker(picture.floor, 0.03))
    ground.paste(tint, (0, 0), mask)


def _draw_plinth(ground: Image.Image, picture: Picture) -> None:
    """A low round stand with a lit top, a shaded side and its own shadow."""
    width, height = picture.size
    lean = LIGHTS[picture.light]
    half, tall, depth = width * 0.33, height * 0.1, width * 0.075
    top = height * 0.745
    shadow = Image.new("L", picture.size, 0)
    shift = lean * width * 0.06
    ImageDraw.Draw(shadow).ellipse(
        (
            width / 2 - half * 1.04 + shift,
            top + tall - depth * 0.9,
            width / 2 + half * 1.04 + shift,
            top + tall + depth * 1.25,
        ),
        fill=120,
    )
    ground.paste(_darker(picture.floor, 0.62), (0, 0), shadow.filter(ImageFilter.GaussianBlur(22)))
    side = _smooth_ellipse(picture.size, (width / 2 - half, top + tall - depth, width / 2 + half, top + tall + depth))
    body = Image.new("L", picture.size, 0)
    body.paste(255, (round(width / 2 - half), round(top), round(width / 2 + half), round(top + tall)))
    across = Image.linear_gradient("L").rotate(90 if lean > 0 else -90).resize(picture.size, Image.Resampling.BICUBIC)
    stone = Image.composite(
        Image.new("RGB", picture.size, _darker(picture.floor, 0.3)),
        Image.new("RGB", picture.size, _darker(picture.floor, 0.06)),
        across,
    )
    ground.paste(stone, (0, 0), ImageChops.lighter(side, body))
    lid = _smooth_ellipse(picture.size, (width / 2 - half, top - depth, width / 2 + half, top + depth))
    ground.paste(_mix(picture.wall, picture.glow, 0.3), (0, 0), lid)


class Assets:
    """The unpacked emoji pictures, by character or code points."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.lru_cache(maxsize=400)  # noqa: B019 - one instance, as long as the program
    def load(self, emoji: str) -> Image.Image:
        """The picture of an emoji or prop, trimmed to what is visible.

        Raises:
            RecipeError: when the package has no such emoji.
        """
        if props.is_prop(emoji):
            return _trim(props.draw(emoji, self.load))
        if drawings.is_drawing(emoji):
            return _trim(drawings.draw(emoji))
        code = emoji if emoji.isascii() else "-".join(f"{ord(char):04x}" for char in emoji)
        bare = "-".join(part for part in code.split("-") if part != "fe0f")
        for candidate in (code, bare, f"{bare}-fe0f"):
            path = self._folder / f"{candidate}.webp"
            if path.is_file():
                return _trim(Image.open(path).convert("RGBA"))
        raise RecipeError(f"the assets have no emoji {emoji!r} ({code}.webp)")


def _trim(image: Image.Image) -> Image.Image:
    box = image.getchannel("A").point(lambda v: 255 if v > 8 else 0).getbbox()
    if box is None:
        raise RecipeError("an emoji with nothing visible")
    return image.crop(box)


def _is_solid(alpha: Image.Image) -> bool:
    """Whether the piece is opaque but for its outline: glass and steam are not."""
    counts = alpha.histogram()
    return sum(counts[40:216]) < 0.06 * sum(counts[40:])


def render_piece(piece: Piece, source: Image.Image, width: int) -> Image.Image:
    """The piece at its size, turned, recoloured and crisp."""
    image = _recolour(source, piece)
    if piece.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    factor = piece.scale * width / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    grown = _bleed(image).resize(size, Image.Resampling.LANCZOS)
    grown.putalpha(image.getchannel("A").resize(size, Image.Resampling.LANCZOS))
    grown = _sharpen(grown, factor)
    if piece.angle:
        grown = grown.convert("RGBa").rotate(piece.angle, Image.Resampling.BICUBIC, expand=True).convert("RGBA")
    return _trim(grown)


def _bleed(image: Image.Image) -> Image.Image:
    """The colours of a piece run out past its outline, so that enlarging and sharpening meet no dark or pale fringe.

    The outermost pixels are noisy in the source; they take the colour of what lies just inside them.
    """
    alpha = image.getchannel("A")
    core = alpha.filter(ImageFilter.MinFilter(3))
    inner = image.copy()
    inner.putalpha(core)
    spilled = image.convert("RGB")
    for radius, edge in ((24, alpha), (8, alpha), (2, core)):
        near = inner.convert("RGBa").filter(ImageFilter.GaussianBlur(radius))
        reached = near.getchannel("a").point(lambda v: 255 if v > 2 else 0)
        mask = ImageChops.darker(reached, edge.point(lambda v: 0 if v > 235 else 255))
        spilled = Image.composite(near.convert("RGBA").convert("RGB"), spilled, mask)
    return spilled


def _sharpen(image: Image.Image, factor: float) -> Image.Image:
    """Undo the softness of enlargement: detail by unsharp masking, the outline by steepening its alpha."""
    alpha = image.getchannel("A")
    flesh = image.convert("RGB")
    flesh = flesh.filter(ImageFilter.UnsharpMask(radius=max(1.0, factor), percent=70, threshold=1))
    flesh = flesh.filter(ImageFilter.UnsharpMask(radius=1.2, percent=45, threshold=1))
    if factor > 1.2 and _is_solid(alpha):
        alpha = alpha.filter(ImageFilter.GaussianBlur(factor * 0.7))
        alpha = alpha.point([max(0, min(255, round((v - 150) * factor * 1.7 + 128))) for v in range(256)])
    flesh.putalpha(alpha)
    return flesh


def _recolour(source: Image.Image, piece: Piece) -> Image.Image:
    if not piece.hue and piece.saturation == 1 and piece.brightness == 1:
        return source
    alpha = source.getchannel("A")
    hue, saturation, value = source.convert("RGB").convert("HSV").split()
    turn = round(piece.hue * 256 / 360)
    hue = hue.point([(v + turn) % 256 for v in range(256)])
    image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    image = ImageEnhance.Color(image).enhance(piece.saturation)
    image = ImageEnhance.Brightness(image).enhance(piece.brightness)
    image.putalpha(alpha)
    return image


def _stamp(canvas_size: tuple[int, int], mask: Image.Image, at: tuple[int, int]) -> Image.Image:
    whole = Image.new("L", canvas_size, 0)
    whole.paste(mask, at)
    return whole


def cast_shadow(size: tuple[int, int], alpha: Image.Image, at: tuple[int, int], lift: int, lean: float) -> Image.Image:
    """How dark the floor is under and beside a standing piece: its leaning silhouette plus the dark line of contact."""
    width, height = alpha.size
    foot = at[1] + height + lift
    short = max(8, round(height * 0.3))
    slide = lean * 0.85
    reach = round(abs(slide) * short) + 1
    squat = alpha.resize((width, short), Image.Resampling.BILINEAR)
    fade = (
        ImageChops.invert(Image.linear_gradient("L"))
        .resize(squat.size)
        .point([round(255 - 0.75 * v) for v in range(256)])
    )
    squat = ImageChops.multiply(squat, fade)
    leaning = squat.transform(
        (width + 2 * reach, short),
        Image.Transform.AFFINE,
        (1, slide, -reach - slide * short, 0, 1, 0),
        Image.Resampling.BILINEAR,
    )
    soft = 8 + height * 0.022 + lift * 0.16
    tall = _stamp(size, leaning, (at[0] - reach, foot - short)).filter(ImageFilter.GaussianBlur(soft))
    dark = tall.point([round(v * (0.42 - min(0.2, lift / 500))) for v in range(256)])
    if lift:
        return ImageChops.add(dark, _pool(size, alpha, (at[0], foot), lift))
    sole = alpha.crop((0, round(height * 0.9), width, height))
    sole = ImageChops.multiply(sole, Image.linear_gradient("L").resize(sole.size))
    under = _stamp(size, sole, (at[0], foot - sole.height + round(4 + width * 0.012)))
    wide = under.filter(ImageFilter.GaussianBlur(13)).point([round(v * 0.62) for v in range(256)])
    tight = under.filter(ImageFilter.GaussianBlur(4)).point([round(v * 0.5) for v in range(256)])
    return ImageChops.add(ImageChops.add(dark, wide), tight)


def _pool(size: tuple[int, int], alpha: Image.Image, foot: tuple[int, int], lift: int) -> Image.Image:
    """The soft shadow straight under a piece in the air."""
    middle, half = foot[0] + alpha.width / 2, alpha.width * 0.36
    pool = Image.new("L", size, 0)
    ImageDraw.Draw(pool).ellipse((middle - half, foot[1] - half * 0.13, middle + half, foot[1] + half * 0.13), fill=105)
    return pool.filter(ImageFilter.GaussianBlur(8 + lift * 0.16))


def drop_shadow(size: tuple[int, int], alpha: Image.Image, at: tuple[int, int], lean: float) -> Image.Image:
    """The shadow of a piece that lies on the ground, seen from above."""
    far = _stamp(size, alpha, (at[0] + round(lean * 20), at[1] + 26)).filter(ImageFilter.GaussianBlur(19))
    near = _stamp(size, alpha, (at[0] + round(lean * 6), at[1] + 8)).filter(ImageFilter.GaussianBlur(6))
    return ImageChops.add(
        far.point([round(v * 0.34) for v in range(256)]), near.point([round(v * 0.24) for v in range(256)])
    )


def compose(picture: Picture, assets: Assets) -> Image.Image:
    """Draw a picture: ground, all floor shadows, then the pieces from back to front, each shading those behind it."""
    canvas = draw_ground(picture)
    width, height = picture.size
    lean = LIGHTS[picture.light]
    placed: list[tuple[Image.Image, tuple[int, int], Piece]] = []
    for piece in picture.pieces:
        image = render_piece(piece, assets.load(piece.emoji), width)
        top = piece.y * height - (image.height / 2 if picture.flat else image.height + piece.lift * width)
        placed.append((image, (round(piece.x * width - image.width / 2), round(top)), piece))
    shade = Image.new("L", picture.size, 0)
    for image, at, piece in placed:
        alpha = image.getchannel("A")
        if picture.flat:
            shade = ImageChops.lighter(shade, drop_shadow(picture.size, alpha, at, lean))
        elif piece.grounded:
            shade = ImageChops.lighter(shade, cast_shadow(picture.size, alpha, at, round(piece.lift * width), lean))
    canvas.paste(_darker(picture.floor, 0.68), (0, 0), shade)
    covered = Image.new("L", picture.size, 0)
    for image, at, _ in placed:
        alpha = image.getchannel("A")
        _shade_behind(canvas, covered, alpha, at, lean)
        canvas.paste(image, at, alpha)
        covered.paste(255, at, alpha)
    return canvas


def _shade_behind(
    canvas: Image.Image, covered: Image.Image, alpha: Image.Image, at: tuple[int, int], lean: float
) -> None:
    """Darken what already stands behind a piece, close to its outline."""
    halo = _stamp(canvas.size, alpha, (at[0] + round(lean * 8), at[1] + 4)).filter(ImageFilter.GaussianBlur(15))
    halo = ImageChops.multiply(halo, covered).point([round(v * 0.42) for v in range(256)])
    canvas.paste((34, 22, 18), (0, 0), halo)


def write_sheet(images: list[tuple[str, Image.Image]], path: Path, across: int = 6) -> None:
    """A contact sheet of the pictures, for looking at."""
    cell = 300
    sheet = Image.new("RGB", (across * cell, math.ceil(len(images) / across) * (cell + 22)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for i, (name, image) in enumerate(images):
        left, top = (i % across) * cell, (i // across) * (cell + 22)
        small = image.copy()
        small.thumbnail((cell - 6, cell - 6), Image.Resampling.LANCZOS)
        sheet.paste(small, (left + 3, top + 3))
        draw.text((left + 6, top + cell), name, fill=(0, 0, 0))
    sheet.save(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compose a store's sample pictures.")
    parser.add_argument("store")
    parser.add_argument("--assets", type=Path, required=True, help="folder `assets` of @lobehub/fluent-emoji-3d")
    parser.add_argument("--only", default="", help="names of pictures, with commas")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet (PNG)")
    parser.add_argument("--across", type=int, default=6, help="pictures in a row of the contact sheet")
    options = parser.parse_args()
    target = ROOT / "src/tradepost/presets" / options.store / "sample/images"
    target.mkdir(parents=True, exist_ok=True)
    chosen = {name for name in options.only.split(",") if name}
    assets = Assets(options.assets)
    drawn: list[tuple[str, Image.Image]] = []
    weight = 0
    try:
        recipes = ROOT / "tools/sample_art" / f"{options.store}.toml"
        quality = read_quality(recipes)
        for picture in choose(read_recipes(recipes), chosen):
            image = compose(picture, assets)
            path = target / f"{picture.name}.webp"
            image.save(path, "WEBP", quality=quality, method=6)
            weight += path.stat().st_size
            drawn.append((picture.name, image))
    except (RecipeError, KeyError, tomllib.TOMLDecodeError, FileNotFoundError) as error:
        print(f"{options.store}: {error}", file=sys.stderr)
        return 1
    if options.sheet:
        write_sheet(drawn, options.sheet, options.across)
    print(f"{options.store}: {len(drawn)} pictures, {weight / 1000:.0f} kB in {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
