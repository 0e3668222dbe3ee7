"""Bring a store's database in line with its preset: reference rows always, sample data once.

Promises that it can be repeated at any time (rows are upserted by their codes), that a code which is no longer in the preset
stays as long as data refers to it, and that sample data is loaded whole or not at all. Runs as the owner, not as the server's
role.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from sqlalchemy import bindparam, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.schema import Table

from tradepost.accounts.tables import role_permissions, roles
from tradepost.alerts.compiling import forget_filing
from tradepost.catalog.tables import categories, conditions, feeds, former_categories, listing_kinds, sources, units
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.settings import BadSettings
from tradepost.core.tables import store_facts
from tradepost.flows.documented import install_documented
from tradepost.flows.plan_delivery import install_plan
from tradepost.flows.preset import Process, StoreSettings, load_preset, load_processes
from tradepost.flows.pricing_rules import install_pricing
from tradepost.flows.processes import check
from tradepost.orders.tables import order_states, order_transitions, processes
from tradepost.search.counting import rebuild
from tradepost.sources.service import plan_reading

Progress = Callable[[str, int, int], None]


def silent(_what: str, _done: int, _whole: int) -> None:
    """Report no progress."""


async def install_store(db: Database, folder: Path) -> StoreSettings:
    """Load a preset's roles, categories, kinds, processes and the like. `db` is the owner's connection.

    Raises `BadSettings`, or `BadProcess` for a process with dead ends or with money or stock it never lets go.
    """
    settings, courses = load_preset(folder), load_processes(folder)
    async with db.transaction(actor=SYSTEM) as tx:
        await _lock_installation(tx)
        await _put(
            tx,
            store_facts,
            [{"name": n, "value": getattr(settings.store, n)} for n in ("currency", "code", "timezone")],
        )
        await _install_roles(tx, settings)
        await _install_catalog(tx, settings)
        await install_pricing(tx, settings)
        await install_plan(tx, settings)
        for course in courses:
            await _install_process(tx, course)
        await install_documented(tx, folder)
        has_other_words = await tx.value(select(func.search_use_language(settings.store.search_language)))
    if has_other_words:
        await rebuild(db)
        async with db.transaction(actor=SYSTEM) as tx:
            await forget_filing(tx)
    return settings


async def _lock_installation(tx: Transaction) -> None:
    """Let a second installation of the same store wait for this one."""
    await tx.value(select(func.pg_advisory_xact_lock(0x696E7374)))


async def _put(tx: Transaction, table: Table, rows: list[dict[str, object]]) -> None:
    """Insert rows or, where the primary key exists, set their other columns."""
    if not rows:
        return
    names = list(rows[0])
    keys = [c.name for c in table.primary_key.columns]
    statement = upsert(table).values({n: bindparam(n, type_=table.c[n].type) for n in names})
    others = {n: statement.excluded[n] for n in names if n not in keys}
    change = (
        statement.on_conflict_do_update(index_elements=keys, set_=others)
        if others
        else statement.on_conflict_do_nothing()
    )
    await tx.run_many(change, rows)


async def _install_roles(tx: Transaction, settings: StoreSettings) -> None:
    await _put(tx, roles, [
        {"code": r.code, "name": r.name, "description": r.description, "is_default": r.default, "is_self_service": r.self_service}
        for r in settings.roles
    ])  # fmt: skip
    await tx.run(role_permissions.delete())
    await _put(tx, role_permissions, [{"role": r.code, "permission": p} for r in settings.roles for p in r.permissions])


async def _install_catalog(tx: Transaction, settings: StoreSettings) -> None:
    await _put(tx, feeds, [{"code": f.code, "name": f.name, "description": f.description} for f in settings.feeds])
    await _put(tx, conditions, [{"code": c.code, "name": c.name, "position": c.position} for c in settings.conditions])
    await _put(tx, units, [{"code": u.code, "name": u.name, "short": u.short, "step": u.step} for u in settings.units])
    await _put(tx, listing_kinds, [
        {"code": k.code, "name": k.name, "plural": k.plural, "fields": msgspec.to_builtins(k.fields)} for k in settings.kinds
    ])  # fmt: skip
    for source in settings.sources:
        values = {
            "code": source.code,
            "name": source.name,
            "kind": source.kind,
            "url": source.url,
            "description": source.description,
            "schedule": source.schedule,
            "pause_s": source.pause_s,
            "terms": source.terms,
            "settings": msgspec.to_builtins(source.settings),
        }
        await _put_source(tx, values)
    await _install_categories(tx, settings)


async def _put_source(tx: Transaction, values: Mapping[str, object]) -> None:
    """Add an outside market, to be read at once if it has a schedule; once it has settings, how it is read is the staff's."""
    change = upsert(sources).values(values)
    change = change.on_conflict_do_update(
        index_elements=["code"],
        set_={n: change.excluded[n] for n in values if n != "code"},
        where=text("sources.settings = '{}'"),
    )
    source_id = await tx.value(change.returning(sources.c.id))
    if source_id is not None and values["schedule"]:
        await plan_reading(tx, source_id, now())


_CATEGORY_ID = select(categories.c.id).where(categories.c.slug == bindparam("slug"))


async def _install_categories(tx: Transaction, settings: StoreSettings) -> None:
    """Parents before children, whatever the order in the file; what the staff changed or took away stays as they want it."""
    ids: dict[str, object] = {}
    gone = set(await tx.values(select(former_categories.c.slug)))
    left = [c for c in settings.categories if c.slug not in gone]
    left = [msgspec.structs.replace(c, parent=None) if c.parent in gone else c for c in left]
    while left:
        ready = [c for c in left if c.parent is None or c.parent in ids]
        if not ready:
            raise BadSettings(
                "store.toml", 1, f"no such parent category: {', '.join(sorted(str(c.parent) for c in left))}"
            )
        for c in ready:
            values = {"slug": c.slug, "name": c.name, "description": c.description, "emoji": c.emoji, "position": c.position,
                      "parent_id": ids.get(c.parent or "")}  # fmt: skip
            change = upsert(categories).values(values)
            change = change.on_conflict_do_update(
                index_elements=["slug"],
                set_={n: change.excluded[n] for n in values if n != "slug"},
                where=~categories.c.is_own,
            )
            await tx.run(change)
            ids[c.slug] = await tx.value(_CATEGORY_ID, slug=c.slug)
        left = [c for c in left if c.slug not in ids]


def _terms(terms: msgspec.Struct | None) -> object:
    return None if terms is None else msgspec.to_builtins(terms)


async def _install_process(tx: Transaction, course: Process) -> None:
    check(course)
    await _put(tx, processes, [{"code": course.name, "kind": course.kind, "initial_state": course.initial,
                               "deposit": _terms(course.deposit), "takes": _terms(course.takes)}])  # fmt: skip
    await _put(tx, order_states, [
        {"process": course.name, "code": s.code, "name": s.name, "documented": s.documented or s.code, "tone": s.tone,
         "is_open": s.open, "is_final": s.final, "position": n}
        for n, s in enumerate(course.states)
    ])  # fmt: skip
    await tx.run(order_transitions.delete().where(order_transitions.c.process == course.name))
    change = insert(order_transitions)
    for t in course.transitions:
        values = {"process": course.name, "from_state": t.from_state, "to_state": t.to_state, "actors": list(t.by),
                  "label": t.label, "effects": list(t.effects), "timer": t.timer}  # fmt: skip
        await tx.run(change.values(values))
