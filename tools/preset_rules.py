"""Checks of a preset's settings: store.toml, its processes, its theme."""

import re
from datetime import timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale

from preset_contract import GATEWAYS, PERMISSIONS, Findings, Preset
from tradepost.flows.preset import Kind, Process
from tradepost.orders.processes import EFFECTS

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
CODE = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


def check_store(preset: Preset, findings: Findings) -> None:
    """store.toml: codes, references inside the file, values a shop can live with."""
    file, store = preset.store, preset.store.store
    findings.need(store.code == preset.folder.name, f"store.code {store.code!r} is not the folder's name")
    findings.need(store.currency in store.currencies, "store.currency is not among store.currencies")
    findings.need(
        re.fullmatch(r"[A-Z]{2}", store.country), f"store.country {store.country!r} is not two capital letters"
    )
    findings.need(
        re.fullmatch(r"[A-Z]{1,4}", store.order_prefix),
        f"store.order_prefix {store.order_prefix!r} is not one to four capital letters",
    )
    findings.need(
        store.place in {place["name"] for place in preset.places}, f"store.place {store.place!r} is not in places.csv"
    )
    findings.prefer(
        50 <= len(store.description) <= 200,
        f"store.description has {len(store.description)} characters; 50 to 200 suit a search result",
    )
    try:
        Locale.parse(store.locale)
        ZoneInfo(store.timezone)
    except (ValueError, LookupError) as error:
        findings.need(False, f"store.locale or store.timezone: {error}")
    for name, text in msgspec.structs.asdict(file.copy).items():
        findings.need(text.strip(), f"copy.{name} is empty")
    for what, codes in (
        ("role", [role.code for role in file.roles]),
        ("feed", [feed.code for feed in file.feeds]),
        ("condition", [condition.code for condition in file.conditions]),
        ("unit", [unit.code for unit in file.units]),
        ("shipping", [method.code for method in file.shipping]),
        ("kind", [kind.code for kind in file.kinds]),
    ):
        findings.unique(codes, what)
        for code in codes:
            findings.need(CODE.fullmatch(code), f"{what} code {code!r} has letters other than a-z, 0-9, _ or -")
    findings.need(any(role.default for role in file.roles), "no role has default = true")
    findings.need(file.feeds, "there is no feed")
    findings.need(file.shipping, "there is no way of shipping")
    for role in file.roles:
        unknown = sorted(set(role.permissions) - PERMISSIONS)
        findings.need(not unknown, f"role {role.code!r}: unknown permissions {unknown}")
    findings.need(any("staff" in role.permissions for role in file.roles), "no role has the permission 'staff'")
    check_money_settings(preset, findings)
    check_categories(preset, findings)
    check_kinds(file.kinds, {unit.code for unit in file.units}, {c.slug for c in file.categories}, findings)
    check_home(preset, findings)
    check_sign_ins(preset, findings)


def check_money_settings(preset: Preset, findings: Findings) -> None:
    """Taxes, shipping prices, commission and unit steps are in range; what they refer to exists."""
    file = preset.store
    slugs = {category.slug for category in file.categories}
    for rate in file.tax.rates:
        findings.need(0 <= rate.percent < 100, f"tax rate {rate.name!r}: {rate.percent} %")
        findings.need(
            rate.category is None or rate.category in slugs, f"tax rate {rate.name!r}: no category {rate.category!r}"
        )
    for method in file.shipping:
        for name, price in (("price", method.price), ("free_from", method.free_from)):
            exact = price is None or (price >= 0 and price == price.quantize(Decimal(1).scaleb(-preset.exponent)))
            findings.need(exact, f"shipping {method.code!r}: {name} {price} is no amount of {file.store.currency}")
    findings.need(0 <= file.payments.commission < 100, f"payments.commission {file.payments.commission}")
    findings.need(file.payments.gateways, "payments.gateways is empty")
    unknown = sorted(set(file.payments.gateways) - GATEWAYS)
    findings.need(not unknown, f"payments.gateways: unknown {unknown}")
    for unit in file.units:
        findings.need(unit.step >= Decimal("0.001"), f"unit {unit.code!r}: step {unit.step}")


def check_categories(preset: Preset, findings: Findings) -> None:
    """The tree: slugs, parents that exist, no circle, one emoji each."""
    categories = preset.store.categories
    parents = {category.slug: category.parent for category in categories}
    findings.unique([category.slug for category in categories], "category")
    for category in categories:
        findings.need(SLUG.fullmatch(category.slug), f"category {category.slug!r} is not a slug")
        findings.need(category.description.strip(), f"category {category.slug!r} has no description")
        plain = category.emoji.replace("\ufe0f", "")
        findings.need(
            plain and not plain.isascii() and (len(plain) == 1 or "\u200d" in plain),
            f"category {category.slug!r}: {category.emoji!r} is not one emoji",
        )
        seen = {category.slug}
        above = category.parent
        while above is not None:
            if not findings.need(
                above in parents and above not in seen,
                f"category {category.slug!r}: parent {above!r} is missing or above itself",
            ):
                break
            seen.add(above)
            above = parents[above]


def check_kinds(kinds: tuple[Kind, ...], units: set[str], slugs: set[str], findings: Findings) -> None:
    """Kinds: the default unit exists, a choice has choices and only a choice has, fields belong to categories that exist."""
    for kind in kinds:
        findings.need(kind.default_unit in units, f"kind {kind.code!r}: no unit {kind.default_unit!r}")
        findings.unique([entry.key for entry in kind.fields], f"kind {kind.code!r}: field")
        for entry in kind.fields:
            findings.need(CODE.fullmatch(entry.key), f"kind {kind.code!r}: field key {entry.key!r}")
            findings.need(
                (entry.type == "choice") == bool(entry.choices),
                f"kind {kind.code!r}: field {entry.key!r}: choices belong to type choice",
            )
            unknown = sorted(set(entry.categories) - slugs)
            findings.need(not unknown, f"kind {kind.code!r}: field {entry.key!r}: no categories {unknown}")


def check_home(preset: Preset, findings: Findings) -> None:
    """The home page's sections refer to feeds, categories and kinds that exist."""
    file = preset.store
    slugs, feeds = {category.slug for category in file.categories}, {feed.code for feed in file.feeds}
    kinds = {kind.code for kind in file.kinds}
    findings.need(any(section.kind == "hero" for section in file.home), "home has no hero")
    for i, section in enumerate(file.home, 1):
        for what, value, known in (
            ("category", section.category, slugs),
            ("feed", section.feed, feeds),
            ("kind_code", section.kind_code, kinds),
        ):
            findings.need(value is None or value in known, f"home section {i}: no {what} {value!r}")
        findings.need(section.kind != "listings" or section.limit, f"home section {i}: listings need a limit")


def check_sign_ins(preset: Preset, findings: Findings) -> None:
    """Those whom `make demo` names exist and have that role."""
    roles = {person.username: person.roles for person in preset.people}
    for sign_in in preset.store.sample.sign_ins:
        has = roles.get(sign_in.username, [])
        findings.need(
            sign_in.role in has, f"sample sign-in {sign_in.username!r}: no such person with role {sign_in.role!r}"
        )
    findings.need(len(preset.store.sample.password) >= 8, "sample.password is shorter than 8 characters")


def check_processes(preset: Preset, findings: Findings) -> None:
    """Every process file; purchase is there and starts the orders."""
    names = [process.name for process in preset.processes]
    findings.need("purchase" in names, "processes/purchase.toml is missing or its name is not 'purchase'")
    findings.unique(names, "process")
    for process in preset.processes:
        check_process(process, findings)


def check_process(process: Process, findings: Findings) -> None:
    """Transitions join states that exist, every state can be reached, only final states are ends, money held is let go."""
    where = f"process {process.name!r}"
    states = {state.code: state for state in process.states}
    findings.unique([state.code for state in process.states], f"{where}: state")
    if not findings.need(process.initial in states, f"{where}: no initial state {process.initial!r}"):
        return
    for move in process.transitions:
        step = f"{where}: {move.from_state} → {move.to_state}"
        findings.need(move.from_state in states and move.to_state in states, f"{step}: no such state")
        findings.need(move.by, f"{step}: nobody may make it")
        findings.need(move.timer is None or move.timer > timedelta(0), f"{step}: the timer is not above zero")
        unknown = sorted(set(move.effects) - set(EFFECTS))
        findings.need(not unknown, f"{step}: unknown effects {unknown}")
        findings.need(move.timer is None or "system" in move.by, f'{step}: a timer needs by = ["system"]')
    findings.unique([f"{move.from_state} → {move.to_state}" for move in process.transitions], f"{where}: move")
    reached, fresh = set[str](), {process.initial}
    while fresh:
        reached |= fresh
        fresh = {move.to_state for move in process.transitions if move.from_state in reached} - reached
    left = {move.from_state for move in process.transitions}
    left_for_more = {move.from_state for move in process.transitions if "refund_payment" not in move.effects}
    for code, state in states.items():
        findings.need(code in reached, f"{where}: state {code!r} cannot be reached")
        findings.need(state.final or code in left, f"{where}: state {code!r} is a dead end and not final")
        findings.need(
            not state.final or code not in left_for_more, f"{where}: final state {code!r} has moves other than refunds"
        )
        findings.need(not (state.final and state.open), f"{where}: state {code!r} is final and open")
    effects = {effect for move in process.transitions for effect in move.effects}
    if "hold_money" in effects:
        findings.need(
            {"release_money", "refund_payment"} <= effects,
            f"{where}: money is held and never released or never refunded",
        )


def check_theme(preset: Preset, findings: Findings) -> None:
    """Logo and icon stand alone: no fonts, scripts or other files."""
    findings.prefer((preset.folder / "theme/theme.css").is_file(), "theme/theme.css is missing")
    for name in ("logo.svg", "favicon.svg"):
        path = preset.folder / "theme" / name
        if not findings.need(path.is_file(), f"theme/{name} is missing"):
            continue
        try:
            root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own file
        except ET.ParseError as error:
            findings.need(False, f"theme/{name}: {error}")
            continue
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        for tag in tags & {"text", "script", "image", "foreignObject"}:
            findings.need(False, f"theme/{name} has <{tag}>, which does not work in a picture")
        findings.need("viewBox" in root.attrib, f"theme/{name} has no viewBox")
