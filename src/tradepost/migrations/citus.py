"""How a store's tables spread over a Citus cluster, worked out from the database itself.

An aggregate's tables are distributed by its id and lie together: a table whose key begins with another's key goes where that one is.
Small tables that all share are copied to every node. What Citus cannot keep across nodes is named: foreign keys between aggregates
and unique constraints without the distribution column go, and `Plan.checks` finds by statements what they would have refused.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
import msgspec

# Filled by the preset or by the staff, read by everything, written seldom.
REFERENCE = frozenset({
    "badges", "categories", "commission_rules", "conditions", "delivery_days_off", "delivery_terms", "delivery_windows",
    "delivery_zones", "feeds", "former_categories", "ingredients", "listing_kinds", "order_states", "order_transitions", "permissions",
    "places", "processes", "role_permissions", "roles", "search_synonyms", "shipping_options", "tax_rates", "units",
})  # fmt: skip
# Of the machinery: they stay where the workers ask for them.
LOCAL = frozenset({
    "alembic_version", "encryption_keys", "engine_samples", "gateway_events", "idempotency_keys", "maintenance_runs",
    "move_in_notes", "move_in_steps", "push_keys", "search_state", "source_hosts", "store_drafts", "store_editions", "store_facts",
})  # fmt: skip
# Parts of an aggregate whose own key does not begin with its id.
PART_OF = {
    "payments": ("order_id", "orders"),
    "prices": ("variant_id", "variants"),
    "returns": ("order_id", "orders"),
    "stock_movements": ("variant_id", "variants"),
}

# Keys that begin with an aggregate's id without a foreign key that says so: a journal balances where its entries are.
WITH = {
    "delivery_stops": "orders",
    "ledger_entries": "ledger_journals",
    "reservations": "orders",
    "sales_listings": "listings",
    "search_queue": "listings",
    "slot_bookings": "orders",
}


# Unique constraints by which a statement of the product finds what is there already (INSERT … ON CONFLICT): without one of them the
# statement is refused, so a plan that would lose one can be read and not carried out. A test finds them in the sources.
RELIED_ON = frozenset({
    ("carts", "user_id"), ("conversations", "about"),
    ("delivery_slots", "delivery_on, starts_at, ends_at, rider_id"), ("ledger_accounts", "kind, owner_id, name, currency"),
    ("ledger_journals", "kind, reference"), ("loyalty_entries", "kind, order_id, reference"), ("notices", "user_id, kind, subject_id"),
    ("promo_codes", "code"), ("push_subscriptions", "endpoint_hash"),
    ("reports", "subject_id, reporter_id"),
})  # fmt: skip


class Table(msgspec.Struct, frozen=True):
    """Where a table goes. `kind`: distributed, reference or local; `group`: the table whose rows it lies with."""

    name: str
    kind: str
    column: str = ""
    group: str = ""
    widened_key: tuple[str, ...] = ()


class Lost(msgspec.Struct, frozen=True):
    """A constraint that no node could keep. `check`: a statement that counts what breaks it."""

    table: str
    name: str
    definition: str
    why: str
    check: str
    columns: tuple[str, ...]

    @property
    def is_relied_on(self) -> bool:
        """Whether a statement of the product needs it: see `RELIED_ON`."""
        return "REFERENCES" not in self.definition and (self.table, ", ".join(self.columns)) in RELIED_ON


class Plan(msgspec.Struct, frozen=True):
    """What distributing a database means."""

    tables: tuple[Table, ...]
    kept: tuple[str, ...]
    lost: tuple[Lost, ...]
    triggers: tuple[str, ...]

    def steps(self) -> list[str]:
        """Return the statements, in the order in which Citus takes them."""
        first = {table.group for table in self.tables if table.kind == "distributed"}
        steps = [
            f'DROP INDEX "{lost.name}"'
            if lost.definition.startswith("CREATE")
            else f'ALTER TABLE "{lost.table}" DROP CONSTRAINT "{lost.name}"'
            for lost in sorted(self.lost, key=lambda lost: "REFERENCES" not in lost.definition)
        ]
        for table in self.tables:
            if table.widened_key:
                columns = ", ".join(f'"{column}"' for column in table.widened_key)
                steps.append(
                    f'ALTER TABLE "{table.name}" DROP CONSTRAINT "pk_{table.name}", ADD CONSTRAINT "pk_{table.name}" PRIMARY KEY ({columns})'
                )
        steps += [
            f"SELECT create_reference_table('{table.name}')" for table in self.tables if table.kind == "reference"
        ]
        ordered = sorted(
            (t for t in self.tables if t.kind == "distributed"), key=lambda t: (t.name not in first, t.name)
        )
        for table in ordered:
            beside = "none" if table.group == table.name else table.group
            steps.append(
                f"SELECT create_distributed_table('{table.name}', '{table.column}', colocate_with => '{beside}')"
            )
        return steps


class _Key(msgspec.Struct, frozen=True):
    table: str
    name: str
    kind: str  # as in pg_constraint: p, u, x, f; i for a unique index
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    definition: str
    where: str | None = None


_KEYS = """
    SELECT t.relname, c.conname, c.contype::text,
           ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(n, i)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n ORDER BY k.i),
           coalesce(f.relname, ''),
           ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(n, i)
                 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n ORDER BY k.i),
           pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid LEFT JOIN pg_class f ON f.oid = c.confrelid
    WHERE t.relnamespace = 'public'::regnamespace AND NOT t.relispartition AND t.relkind IN ('r', 'p')
      AND c.contype IN ('p', 'u', 'x', 'f') AND c.conparentid = 0
    ORDER BY t.relname, c.conname
"""
_INDEXES = """
    SELECT t.relname, i.relname, 'i', ARRAY(SELECT coalesce(a.attname::text, '') FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(n, at)
           LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.n WHERE k.at <= x.indnkeyatts ORDER BY k.at),
           '', '{}'::text[], pg_get_indexdef(i.oid), pg_get_expr(x.indpred, t.oid)
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE x.indisunique AND t.relnamespace = 'public'::regnamespace AND NOT t.relispartition AND t.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u', 'x'))
    ORDER BY t.relname, i.relname
"""
_TABLES = """
    SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
      AND relname NOT LIKE 'pgqueuer%'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY relname
"""
_TRIGGERS = """
    SELECT DISTINCT c.relname || '.' || t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND NOT c.relispartition AND c.relname = ANY($1) ORDER BY 1
"""


async def plan_citus(connection: asyncpg.Connection) -> Plan:
    """Return the plan for a migrated database; changes nothing."""
    names = [row[0] for row in await connection.fetch(_TABLES)]
    rows = [*await connection.fetch(_KEYS), *await connection.fetch(_INDEXES)]
    keys = [_key(row) for row in rows]
    tables = {name: _placed(name, keys) for name in names}
    kept, lost = _judged(tables, keys)
    spread = [table.name for table in tables.values() if table.kind == "distributed"]
    triggers = [row[0] for row in await connection.fetch(_TRIGGERS, spread)]
    return Plan(tuple(tables.values()), tuple(kept), tuple(lost), tuple(triggers))


def _key(row: Sequence[Any]) -> _Key:
    parts: list[Any] = [tuple(part) if isinstance(part, list) else part for part in row]
    return _Key(*parts)


def _placed(name: str, keys: Iterable[_Key]) -> Table:
    if name in REFERENCE or name in LOCAL:
        return Table(name, "reference" if name in REFERENCE else "local")
    own = next(key.columns for key in keys if key.table == name and key.kind == "p")
    if name in PART_OF:
        column, root = PART_OF[name]
        return Table(name, "distributed", column, _placed(root, keys).group, (column, *own))
    if name in WITH:
        return Table(name, "distributed", own[0], _placed(WITH[name], keys).group)
    parent = next(
        (
            key.target
            for key in keys
            if key.table == name and key.kind == "f" and key.columns[0] == own[0]
            and key.target not in {name, *REFERENCE, *LOCAL} and _leads(key, keys)
        ),
        None,
    )  # fmt: skip
    return Table(name, "distributed", own[0], _placed(parent, keys).group if parent else name)


def _leads(key: _Key, keys: Iterable[_Key]) -> bool:
    """Whether a foreign key begins with the first column of its target's primary key."""
    primary = next((other.columns for other in keys if other.table == key.target and other.kind == "p"), ())
    return bool(primary) and key.target_columns[0] == primary[0]


def _judged(tables: dict[str, Table], keys: Iterable[_Key]) -> tuple[list[str], list[Lost]]:
    kept, lost = [], []
    for key in keys:
        if key.table not in tables or (key.target and key.target not in tables):
            continue
        why = _why_lost(tables, key)
        if not why:
            kept.append(f"{key.table}.{key.name}")
        elif not (key.kind == "p" and tables[key.table].widened_key):
            lost.append(Lost(key.table, key.name, key.definition, why, _check(key), key.columns))
    return kept, lost


def _why_lost(tables: dict[str, Table], key: _Key) -> str:
    here = tables[key.table]
    if key.kind != "f":
        inside = here.kind != "distributed" or here.column in key.columns
        return "" if inside else f"rows with the same values may lie on several nodes, apart by {here.column}"
    there = tables[key.target]
    if there.kind == "reference":
        return ""
    if here.kind == "local" and there.kind == "local":
        return ""
    if here.kind == "distributed" and there.kind == "distributed" and here.group == there.group:
        pairs = dict(zip(key.columns, key.target_columns, strict=True))
        if pairs.get(here.column) == there.column and not there.widened_key:
            return ""
        return f"{key.target} is found by {there.column} only"
    return f"{key.target} lies elsewhere"


def _check(key: _Key) -> str:
    columns = ", ".join(f'"{column}"' for column in key.columns)
    if key.kind == "f":
        given = " AND ".join(f'a."{column}" IS NOT NULL' for column in key.columns)
        same = " AND ".join(
            f'b."{there}" = a."{here}"' for here, there in zip(key.columns, key.target_columns, strict=True)
        )
        return f'SELECT count(*) FROM "{key.table}" a LEFT JOIN "{key.target}" b ON {same} WHERE {given} AND b."{key.target_columns[0]}" IS NULL'
    if key.kind == "x" or not all(key.columns):
        return ""  # what it excludes is more than equality of columns: see its definition
    given = " AND ".join([*(f'"{column}" IS NOT NULL' for column in key.columns), *([key.where] if key.where else [])])
    return f'SELECT count(*) FROM (SELECT FROM "{key.table}" WHERE {given} GROUP BY {columns} HAVING count(*) > 1) x'
