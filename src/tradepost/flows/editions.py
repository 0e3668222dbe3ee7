"""The staff change a store's words, switches and colours: tried in a draft, put in force as an edition, brought back from the history.

Promises that an edition holds only what differs from the preset, that nothing is put in force which the settings' own types, or people's
eyes, refuse, and that every process serves the newest edition within `LOOK_EVERY_S` of being asked anything, without restart. An edition
that a later version of the product cannot read any more is left out of force and logged, never an obstacle to serving.
"""

import asyncio
import time
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core import editions
from tradepost.core.database import SYSTEM
from tradepost.core.editions import Edition, NoSuchEdition
from tradepost.core.errors import DomainError, FieldErrors, Unavailable
from tradepost.core.text import is_plain, one_line, paragraphs
from tradepost.flows.look import COLOURS, CORNERS, Faint, Pair, faint_pairs, is_colour, style_of, theme_colours
from tradepost.flows.preset import StoreSettings
from tradepost.flows.store import Store
from tradepost.flows.typefaces import PLACES, theme_typefaces, typefaces

PERMISSION = "manage_store"
LOOK_EVERY_S: Final = 3.0
_NAMES = text("SELECT id, display_name FROM users WHERE id = ANY (CAST(:ids AS uuid[]))")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Setting:
    """One setting that the staff may change: its path in the settings, its label, and how it is asked for."""

    path: str
    label: str
    kind: str
    most: int = 0
    choices: tuple[tuple[str, str], ...] = ()
    hint: str = ""


_ONE_STEP = (("optional", "who wants to"), ("staff", "everybody who works here"))
_SCHEDULES = (("off", "by hand only"), ("daily", "every day"), ("weekly", "every week"), ("monthly", "every month"))
WORDS: Final = (
    Setting("store.name", "Name of the store", "line", 60), Setting("store.tagline", "In one line", "line", 120),
    Setting("store.description", "For search engines and shared links", "text", 400),
    Setting("store.support_email", "Address for questions", "email", 120),
    Setting("copy.hero_title", "Front page: title", "line", 120), Setting("copy.hero_text", "Front page: text", "text", 500),
    Setting("copy.hero_action", "Front page: button", "line", 60), Setting("copy.search_placeholder", "In the empty search field", "line", 100),
    Setting("copy.empty_cart", "When the cart is empty", "text", 300), Setting("copy.empty_results", "When nothing was found", "text", 300),
    Setting("copy.sell_title", "Selling: title", "line", 120), Setting("copy.sell_text", "Selling: text", "text", 400),
    Setting("copy.sign_up_title", "Signing up: title", "line", 120), Setting("copy.sign_up_text", "Signing up: text", "text", 400),
    Setting("copy.order_thanks", "After an order", "text", 300), Setting("copy.footer_text", "At the foot of every page", "text", 400),
)  # fmt: skip
RULES: Final = (
    Setting("tax.inclusive", "Prices include tax", "switch"),
    Setting("features.guest_checkout", "Buyers need no account", "switch"), Setting("features.reviews", "Buyers write reviews", "switch"),
    Setting("features.wishlists", "People save listings", "switch"), Setting("features.distance", "Distances are shown", "switch"),
    Setting("features.messages", "People write to each other", "switch"), Setting("features.offers", "Buyers propose prices", "switch"),
    Setting("security.second_step", "A second step at sign-in is for", "choice", choices=_ONE_STEP),
    Setting("security.listings_unconfirmed", "Listings before an address is proved", "whole", 1_000_000, hint="0: as many as they like."),
    Setting("security.listings_unverified", "Listings before papers are accepted", "whole", 1_000_000, hint="0: as many as they like."),
    Setting("security.price_unverified", "Highest price before papers are accepted", "amount", hint="0: any."),
    Setting("payments.payout_schedule", "Sellers are paid out", "choice", choices=_SCHEDULES),
    Setting("payments.payout_minimum", "Smallest payout", "amount"),
)  # fmt: skip


class Shown(msgspec.Struct, frozen=True):
    """One edition as the history shows it: what differs from the one before, as label, before and after."""

    edition: Edition
    by: str
    differences: tuple[tuple[str, str, str], ...]


class Look(msgspec.Struct, frozen=True):
    """What the editor shows: values by path, colours by name, what is hard to read, the history."""

    number: int
    values: dict[str, Any]
    preset: dict[str, Any]
    colours: dict[str, Pair]
    preset_colours: dict[str, Pair]
    corners: str
    faces: dict[str, str]
    faint: tuple[Faint, ...]
    has_draft: bool
    history: tuple[Shown, ...]


def preset_of(store: Store) -> StoreSettings:
    """Return the settings as the preset writes them, whatever edition is in force."""
    return store.preset or store.settings


def settings_with(preset: StoreSettings, changes: dict[str, Any]) -> StoreSettings:
    """Return a preset's settings with an edition's changes. Raises `FieldErrors` for what a setting cannot be."""
    plain = msgspec.to_builtins(preset)
    for path, value in changes.get("settings", {}).items():
        section, _, name = path.partition(".")
        if path not in _BY_PATH:
            raise FieldErrors({path: "There is no such setting."})
        plain[section][name] = value
    try:
        return msgspec.convert(plain, StoreSettings)
    except msgspec.ValidationError as error:
        raise FieldErrors({"": str(error)}) from None


_BY_PATH = {setting.path: setting for setting in (*WORDS, *RULES)}


def value_of(settings: StoreSettings, path: str) -> Any:
    """Return a setting by its path, as JSON would hold it."""
    section, _, name = path.partition(".")
    return msgspec.to_builtins(getattr(getattr(settings, section), name))


def colours_of(store: Store, changes: dict[str, Any]) -> dict[str, Pair]:
    """Return every colour of a store with an edition's changes."""
    theme = changes.get("theme", {})
    known = theme_colours(store.preset_folder)
    return {name: (theme[name][0], theme[name][1]) if name in theme else known[name] for name, _ in COLOURS}


def read_changes(store: Store, given: dict[str, str]) -> dict[str, Any]:
    """Return what a form sets differently from the preset; a switch that is not given is off. Raises `FieldErrors`."""
    preset, problems = preset_of(store), {}
    settings: dict[str, Any] = {}
    for setting in _BY_PATH.values():
        try:
            value = _typed(setting, given.get(setting.path, ""))
        except ValueError as error:
            problems[setting.path] = str(error)
            continue
        if value != _comparable(setting, value_of(preset, setting.path)):
            settings[setting.path] = value
    theme = _theme(store, given, problems)
    if problems:
        raise FieldErrors(problems)
    changes = {"settings": settings, "theme": theme}
    settings_with(preset, changes)
    return changes


def _comparable(setting: Setting, value: Any) -> Any:
    return _typed(setting, str(value)) if setting.kind in {"amount", "text", "line", "email"} and value else value


def _typed(setting: Setting, given: str) -> Any:
    match setting.kind:
        case "switch":
            return given in {"1", "on", "True", "true"}
        case "choice":
            if given not in dict(setting.choices):
                raise ValueError("Choose one of the list.")
            return given
        case "whole":
            if not given.isascii() or not given.isdecimal() or int(given[:12]) > setting.most:
                raise ValueError("A whole number of 0 or more.")
            return int(given)
        case "amount":
            return _amount(given)
        case _:
            return _words(setting, given)


def _amount(given: str) -> str:
    whole, _, part = given.strip().replace(",", ".").partition(".")
    if not (whole + part).isascii() or not (whole + part).isdecimal() or len(whole) > 9 or len(part) > 3 or not whole:
        raise ValueError("An amount of 0 or more.")
    return f"{int(whole)}.{part.rstrip('0')}" if part.rstrip("0") else str(int(whole))


def _words(setting: Setting, given: str) -> str:
    said = paragraphs(given) if setting.kind == "text" else one_line(given)
    if not is_plain(given) or len(said) > setting.most:
        raise ValueError(f"At most {setting.most} characters, and none that cannot be shown.")
    if setting.kind == "email":
        if said and ("@" not in said[1:-1] or " " in said):
            raise ValueError("An e-mail address, please.")
    elif not said:
        raise ValueError("This is needed.")
    return said


def _theme(store: Store, given: dict[str, str], problems: dict[str, str]) -> dict[str, Any]:
    known = theme_colours(store.preset_folder)
    theme: dict[str, Any] = {}
    for name, _ in COLOURS:
        pair = tuple(
            (given.get(f"{name}.{scheme}", "") or was).lower()
            for scheme, was in zip(("light", "dark"), known[name], strict=True)
        )
        if not all(is_colour(colour) for colour in pair):
            problems[f"{name}.light"] = "A colour is written #1f4d2e."
        elif pair != known[name]:
            theme[name] = list(pair)
    if given.get("corners") in CORNERS:
        theme["corners"] = given["corners"]
    own = theme_typefaces(store.preset_folder)
    theme |= {
        place: given[place] for place, _ in PLACES if given.get(place) in typefaces() and given[place] != own.get(place)
    }
    if not problems and theme:
        for faint in faint_pairs(colours_of(store, {"theme": theme})):
            if faint.is_refused and (faint.text in theme or faint.ground in theme):
                problems.setdefault(
                    f"{faint.text}.{faint.scheme}", f"Nobody could read it. {faint.sentence} It takes 3 at least."
                )
    return theme


async def get_look(store: Store, caller: Caller) -> Look:
    """Return what the editor shows: the caller's draft where they have one, else the edition in force. Raises `NotAllowed`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        history = await editions.list_editions(tx)
        draft = await editions.find_draft(tx, caller.check_signed_in())
        names = {row[0]: row[1] for row in await tx.all(_NAMES, ids=list({e.by_id for e in history if e.by_id}))}
    changes = draft if draft is not None else history[0].changes if history else {}
    preset = preset_of(store)
    try:
        settings = settings_with(preset, changes)
    except FieldErrors:
        settings, changes = preset, {}
    colours = colours_of(store, changes)
    return Look(
        number=history[0].number if history else 0, values={path: value_of(settings, path) for path in _BY_PATH},
        preset={path: value_of(preset, path) for path in _BY_PATH}, colours=colours, preset_colours=theme_colours(store.preset_folder),
        corners=changes.get("theme", {}).get("corners", ""), faces=theme_typefaces(store.preset_folder) | _faces(changes), faint=faint_pairs(colours), has_draft=draft is not None,
        history=tuple(
            Shown(e, names.get(e.by_id, "") if e.by_id else "", _differences(store, history[n + 1].changes if n + 1 < len(history) else {}, e.changes))
            for n, e in enumerate(history)
        ),
    )  # fmt: skip


def _faces(changes: dict[str, Any]) -> dict[str, str]:
    theme = changes.get("theme", {})
    return {place: theme[place] for place, _ in PLACES if theme.get(place) in typefaces()}


def _differences(store: Store, before: dict[str, Any], after: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    preset, known, names = preset_of(store), theme_colours(store.preset_folder), dict(COLOURS)
    found: list[tuple[str, str, str]] = []
    old, new = before.get("settings", {}), after.get("settings", {})
    for path, setting in _BY_PATH.items():
        one, other = old.get(path, value_of(preset, path)), new.get(path, value_of(preset, path))
        if one != other:
            found.append((setting.label, _said(one), _said(other)))
    old, new = before.get("theme", {}), after.get("theme", {})
    found += [
        (names[name], " / ".join(old.get(name, known[name])), " / ".join(new.get(name, known[name])))
        for name, _ in COLOURS
        if old.get(name) != new.get(name)
    ]
    faces = theme_typefaces(store.preset_folder)
    found += [
        (label, old.get(place) or faces.get(place, ""), new.get(place) or faces.get(place, ""))
        for place, label in PLACES
        if old.get(place) != new.get(place)
    ]
    if old.get("corners") != new.get("corners"):
        found.append(
            ("Corners", old.get("corners", "as the theme has them"), new.get("corners", "as the theme has them"))
        )
    return tuple(found)


def _said(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


async def try_changes(store: Store, caller: Caller, given: dict[str, str]) -> None:
    """Keep a form as the caller's draft, which they alone see the store with. Raises `NotAllowed`, `FieldErrors`."""
    caller.check_can(PERMISSION)
    changes = read_changes(store, given)
    async with store.db.transaction(actor=caller.actor) as tx:
        await editions.keep_draft(tx, caller.check_signed_in(), changes)


async def drop_draft(store: Store, caller: Caller) -> None:
    """Forget the caller's draft. Raises `NotAllowed`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        await editions.drop_draft(tx, caller.check_signed_in())


async def publish_changes(store: Store, caller: Caller, given: dict[str, str], after: int, note: str = "") -> int:
    """Put a form in force for everybody; return the number of the edition. Raises `NotAllowed`, `FieldErrors`, `SettingsChangedMeanwhile`."""
    caller.check_can(PERMISSION)
    return await _publish(store, caller, read_changes(store, given), after, one_line(note)[:200])


async def publish_draft(store: Store, caller: Caller) -> int:
    """Put the caller's draft in force as they saw it; return the number. Raises `NotAllowed`, `NoSuchEdition`, `SettingsChangedMeanwhile`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        changes = await editions.find_draft(tx, caller.check_signed_in())
        after = await editions.last_number(tx)
    if changes is None:
        raise NoSuchEdition
    return await _publish(store, caller, changes, after, "")


async def bring_back(store: Store, caller: Caller, number: int) -> int:
    """Put an earlier edition in force again, 0 for the preset itself; return the number of the new one.

    Raises `NotAllowed`, `NoSuchEdition`, `FieldErrors` where it cannot be read any more.
    """
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        changes = (await editions.get_edition(tx, number)).changes if number else {}
        after = await editions.last_number(tx)
    settings_with(preset_of(store), changes)
    return await _publish(store, caller, changes, after, "", brings_back=number)


async def _publish(
    store: Store, caller: Caller, changes: dict[str, Any], after: int, note: str, *, brings_back: int | None = None
) -> int:
    settings = settings_with(preset_of(store), changes)
    by_id = caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor) as tx:
        number = await editions.add_edition(tx, after, changes, by_id, note=note, brings_back=brings_back)
        await editions.drop_draft(tx, by_id)
    _adopt(store, settings, changes, number)
    return number


def _adopt(store: Store, settings: StoreSettings, changes: dict[str, Any], number: int) -> None:
    store.preset = preset_of(store)
    store.settings = settings
    store.style = style_of(changes.get("theme", {}))
    store.edition = number


async def look_again(store: Store) -> None:
    """Take up the newest edition if this process has not looked for some seconds; keeps what it has where the database is away."""
    moment = time.monotonic()
    if moment - store.looked_at < LOOK_EVERY_S:
        return
    store.looked_at = moment
    await asyncio.create_task(_look(store), context=Context())  # no page's own query: not counted with its


async def _look(store: Store) -> None:
    try:
        found = await editions.newer_edition(store.db, store.edition)
    except (Unavailable, OSError):
        return
    if found is None:
        return
    try:
        settings = settings_with(preset_of(store), found.changes)
    except DomainError as error:
        _log.error("store.edition_unreadable", store=store.code, number=found.number, problem=error.message)
        store.edition = found.number
        return
    _adopt(store, settings, found.changes, found.number)


async def follow_editions(store: Store, stop: asyncio.Event) -> None:
    """Take up new editions until `stop` is set: for processes that nobody asks anything."""
    while not stop.is_set():
        await look_again(store)
        try:
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_S + 0.1)
        except TimeoutError:
            continue


async def as_drafted(store: Store, caller: Caller) -> Store | None:
    """Return the store as the caller's draft has it, or None where they have none or may not have one."""
    if caller.user_id is None or not caller.can(PERMISSION):
        return None
    user_id: UUID = caller.user_id
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        changes = await editions.find_draft(tx, user_id)
    if changes is None:
        return None
    try:
        settings = settings_with(preset_of(store), changes)
    except FieldErrors:
        return None
    return replace(
        store, settings=settings, preset=preset_of(store), style=style_of(changes.get("theme", {})), edition=-1
    )
