"""Templates and the few filters they use: money, times, distances, quantities in the store's locale."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.numbers import format_currency, format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from tradepost.core import clock
from tradepost.core.money import exponent, to_major, to_minor
from tradepost.flows.store import Store

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"


@cache
def environment() -> Environment:
    """Return the one template environment; what differs between stores is in the context."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        undefined=StrictUndefined, cache_size=400,
    )  # fmt: skip
    made.filters |= {
        "money": _money,
        "major": _major,
        "surcharge": _surcharge,
        "in_order": _in_order,
        "when": _when,
        "distance": _distance,
        "quantity": _quantity,
        "day": _day,
        "moment": _moment,
        "to_the_minute": _to_the_minute,
        "date": _date,
    }
    made.globals |= {
        "fragment": _fragment,
        "drawing": drawing,
        "picture_url": picture_url,
        "asset_version": asset_version(),
        "picture_widths": (160, 320, 640, 960),
        "role_names": lambda roles: {role.code: role.name for role in roles},
    }
    return made


@cache
def asset_version() -> str:
    """Return a short mark that changes whenever a static file does, so that browsers may keep them for ever."""
    newest = max((int(p.stat().st_mtime) for p in STATIC.rglob("*") if p.is_file()), default=0)
    return f"{newest:x}"


@lru_cache(maxsize=1024)
def drawing(name: str, size: str = "", label: str = "", fill: bool = False) -> Markup:
    """Return an icon of the vendored sprite, by its Lucide name; decorative unless `label` says what it stands for."""
    kind = "icon" + (f" icon--{size}" if size else "") + (" icon--fill" if fill else "")
    said = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="{}" {}><use href="/static/vendor/icons.svg#{}"/></svg>').format(kind, said, name)


def picture_url(file_id: UUID | str, width: int) -> str:
    """Return the address of a stored picture at one of the standard widths."""
    return f"/media/{file_id}/{width}.webp"


def _locale(context: Context) -> str:
    store: Store | None = context.get("open_store")
    return store.settings.store.locale if store else "en_US"


def _major(minor: int | None, currency: str) -> str:
    """Return an amount as one types it into a field."""
    return "" if minor is None else f"{to_major(minor, currency):f}"


@pass_context
def _money(context: Context, minor: int | None, currency: str | None) -> str:
    if minor is None or not currency:
        return ""
    return _money_text(_locale(context), currency, minor)


def _in_order(fields: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the fields of a schema as its author ordered them (`x-order`); jsonb keeps no order of its own."""
    return sorted(
        ((k, f) for k, f in fields.items() if isinstance(f, dict)), key=lambda kf: (kf[1].get("x-order", 100), kf[0])
    )


def _surcharge(choice: dict[str, Any], currency: str) -> int:
    """Return what a choice of a made-to-order thing adds to its price, in minor units."""
    return to_minor(str(choice.get("x-price") or "0"), currency)


@lru_cache(maxsize=16384)
def _money_text(locale: str, currency: str, minor: int) -> str:
    return money_formatter(locale, currency)(minor)


@lru_cache(maxsize=256)
def money_formatter(locale: str, currency: str) -> Callable[[int], str]:
    """Return a fast formatter of minor units; Babel says how the locale writes money, once."""
    decimals = exponent(currency)
    sample = format_currency(to_major(123456789 * 10**decimals, currency), currency, locale=locale)
    sign, group, point = _marks(locale)
    whole = f"123{group}456{group}789"
    digits = whole + (point + "0" * decimals if decimals else "")
    if digits not in sample:  # a locale with other digits or other groups: let Babel write each amount
        return lru_cache(maxsize=4096)(
            lambda minor: format_currency(to_major(minor, currency), currency, locale=locale)
        )
    before, after = sample.split(digits)

    def write(minor: int) -> str:
        major, rest = divmod(abs(minor), 10**decimals)
        number = f"{major:,}".replace(",", group) + (f"{point}{rest:0{decimals}d}" if decimals else "")
        return f"{sign if minor < 0 else ''}{before}{number}{after}"

    return write


def _marks(locale: str) -> tuple[str, str, str]:
    symbols = Locale.parse(locale).number_symbols.get("latn", {})
    return symbols.get("minusSign", "-"), symbols.get("group", ","), symbols.get("decimal", ".")


@pass_context
def _when(context: Context, moment: datetime | None) -> str:
    """Write a moment relative to now, with the exact one on hover. Babel takes 0.1 ms, so what it says is kept."""
    if moment is None:
        return ""
    locale = _locale(context)
    opening = _time_tag(moment, locale, _timezone(context))
    return Markup(f"{opening}{_relative(_rounded_seconds(clock.now() - moment), locale)}</time>")  # noqa: S704 - both are escaped


@lru_cache(maxsize=16384)
def _time_tag(moment: datetime, locale: str, timezone: str) -> Markup:
    exact = format_datetime(moment.astimezone(ZoneInfo(timezone)), "medium", locale=locale)
    return Markup('<time datetime="{}" title="{}">').format(moment.astimezone(UTC).isoformat(timespec="seconds"), exact)


@lru_cache(maxsize=4096)
def _relative(seconds: int, locale: str) -> Markup:
    words = format_timedelta(
        timedelta(seconds=-seconds), add_direction=True, locale=locale.split("_", maxsplit=1)[0], threshold=1.2
    )
    return escape(words)


def _rounded_seconds(age: timedelta) -> int:
    """Return an age in seconds, no finer than its words can tell: few values, so their words are mostly known."""
    seconds = round(age.total_seconds())
    grain = 1 if abs(seconds) < 120 else 60 if abs(seconds) < 7200 else 3600
    return seconds // grain * grain or 1  # what happens this second happened, rather than “in 0 seconds”


def _timezone(context: Context) -> str:
    store: Store | None = context.get("open_store")
    return store.settings.store.timezone if store else "UTC"


def _exact(context: Context, moment: datetime, form: str = "medium") -> str:
    return format_datetime(moment.astimezone(ZoneInfo(_timezone(context))), form, locale=_locale(context))


@pass_context
def _moment(context: Context, moment: datetime | None) -> str:
    return "" if moment is None else _exact(context, moment)


@pass_context
def _to_the_minute(context: Context, moment: datetime | None) -> str:
    return "" if moment is None else _exact(context, moment, "EEE d MMM, HH:mm")


@pass_context
def _day(context: Context, moment: datetime | date | None) -> str:
    if isinstance(moment, datetime):
        return _exact(context, moment, "d MMM y")
    return "" if moment is None else format_date(moment, "d MMM y", locale=_locale(context))


@pass_context
def _date(context: Context, day: date | None) -> str:
    """Write a day that belongs to no moment, such as that of a booking, with its weekday."""
    return "" if day is None else format_date(day, "EEE d MMM y", locale=_locale(context))


def _distance(metres: float | None) -> str:
    if metres is None:
        return ""
    if metres < 1000:
        return "under 1 km"
    return f"{metres / 1000:.0f} km" if metres >= 10_000 else f"{metres / 1000:.1f} km"


@pass_context
def _quantity(context: Context, quantity: Decimal | None) -> str:
    return "" if quantity is None else _quantity_text(_locale(context), quantity)


@lru_cache(maxsize=4096)
def _quantity_text(locale: str, quantity: Decimal) -> str:
    """Write a quantity; Babel takes its time, and most quantities are written again and again."""
    return str(format_decimal(quantity, locale=locale))


class Fragments:
    """Pieces of pages that were drawn before, by what they were drawn from: the same cards look the same to everybody.

    Kept for a minute at most, because times are written relative to now. Holds `most` pieces, the latest used.
    """

    def __init__(self, most: int = 400) -> None:
        self._most = most
        self._drawn: OrderedDict[tuple[Any, ...], Markup] = OrderedDict()

    def draw(self, context: Context, macro: Callable[..., Markup], *arguments: Any, **named: Any) -> Markup:
        """Return what `macro` draws of these arguments for the context's store."""
        store: Store | None = context.get("open_store")
        minute = int(clock.now().timestamp() // 60)
        try:
            made_of = msgspec.json.encode((arguments, named), enc_hook=_by_identity)
        except NotImplementedError:
            return macro(*arguments, **named)
        key = (store.code if store else "", getattr(macro, "name", ""), minute, made_of)
        found = self._drawn.get(key)
        if found is None:
            found = self._drawn[key] = macro(*arguments, **named)
            while len(self._drawn) > self._most:
                self._drawn.popitem(last=False)
        else:
            self._drawn.move_to_end(key)
        return found


def _by_identity(value: Any) -> Any:
    raise NotImplementedError(type(value))


_fragments = Fragments()


@pass_context
def _fragment(context: Context, macro: Callable[..., Markup], *arguments: Any, **named: Any) -> Markup:
    return _fragments.draw(context, macro, *arguments, **named)


def lines(text: str) -> Markup:
    """Return user text with its line breaks, escaped: users write no HTML."""
    return Markup("<br>").join(escape(part) for part in text.splitlines())


def template(name: str) -> Any:
    """Return a compiled template."""
    return environment().get_template(name)
