"""How another system's tables become ours: read from `import.sql` in a preset's folder, where it is data.

The file has notes (`-- word: …`, continued by lines that begin with `--` and three spaces) and statements. A step is a table with
those whose rows go with it, such as orders and their lines; a batch of its rows is staged as `batch_<table>`, held against the
rules, and what is left is what the step's statements select from.

- `-- system: name`, once.
- `-- step: name` begins one.
- `-- table: name by key` or `-- table: name by key, of parent by column`.
- `-- read: column kind, …` of the table above; `column kind?` is null where there is none, `column kind = expression of a b` is
  computed there from columns a and b.
- `-- seal: column as kind` encrypts it in `<column>_enc`.
- `-- refuse table: reason | condition`: such rows stay behind. Rules are held in their order, so that one may ask what became of
  other rows: `reason IS NULL` is one that was not refused. `twice expression`: rows after the first with the same value.
- `-- note table: remark | condition`: such rows come with a change that people should know of.
- `-- count table: column | expression | join`: what is compared: the sum of the column there, and of the expression over `batch b
  JOIN join` here; both may be empty, then rows are counted only.
- `-- include: name`: the statements of `move_in_<name>.sql` beside this file.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tradepost.core.errors import NotFound

NAME = "import.sql"
_KINDS = frozenset(
    {"uuid", "bigint", "integer", "text", "numeric", "boolean", "timestamptz", "timestamp", "date", "jsonb", "float8"}
)
_NOTE = re.compile(r"-- (\w+)(?: (\w+))?: (.*)")


SYSTEMS: Final = ("omade", "shop-assistant", "tese", "marketplace-watch", "souk-loop")


@dataclass(eq=False)
class NothingToMoveIn(NotFound):
    """The store “{store}” has no plan (import.sql in its preset) for a database of “{system}”."""

    store: str
    system: str


class Column(msgspec.Struct, frozen=True):
    """A column that is read there: under a name of ours, as a kind, computed from `needs`."""

    name: str
    kind: str
    expression: str
    needs: tuple[str, ...]
    is_optional: bool

    @property
    def staged(self) -> str:
        """The type it has here: times without a zone have got one on the way."""
        return "timestamptz" if self.kind == "timestamp" else self.kind


class Part(msgspec.Struct, frozen=True):
    """A table there. `link`: the column by which its rows belong to `parent`'s."""

    table: str
    key: str
    parent: str
    link: str
    columns: tuple[Column, ...]
    seals: tuple[tuple[str, str], ...]


class Rule(msgspec.Struct, frozen=True):
    """Rows of a table for which the condition holds are refused, or kept and reported."""

    table: str
    reason: str
    condition: str
    is_refusal: bool


class Count(msgspec.Struct, frozen=True):
    """What is compared of a table: what came (`given`) and what is there now (`kept` over `join`)."""

    table: str
    given: str
    kept: str
    join: str


class Step(msgspec.Struct, frozen=True):
    """Tables that are moved together, the first of which leads; `script` writes what is left of a batch."""

    name: str
    parts: tuple[Part, ...]
    rules: tuple[Rule, ...]
    counts: tuple[Count, ...]
    script: str


class Plan(msgspec.Struct, frozen=True):
    """How a whole system moves in."""

    system: str
    steps: tuple[Step, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every table of every step."""
        return tuple(part for step in self.steps for part in step.parts)


def load_plan(folder: Path, system: str) -> Plan:
    """Read a preset's plan for databases of a system. Raises `NothingToMoveIn` where it has none."""
    path = folder / NAME
    plan = read_plan(path.read_text("utf-8")) if path.exists() else None
    if plan is None or plan.system != system:
        raise NothingToMoveIn(folder.name, system)
    return plan


def read_plan(source: str) -> Plan:
    """Return the plan that a file's text says."""
    head, *steps = re.split(r"(?m)^-- step: ", re.sub(r"\n--   +", " ", source))
    (system,) = (found[3] for line in head.splitlines() if (found := _NOTE.match(line)) and found[1] == "system")
    return Plan(system, tuple(_step(text) for text in steps))


def _step(source: str) -> Step:
    name, _, rest = source.partition("\n")
    parts: list[Part] = []
    rules: list[Rule] = []
    counts: list[Count] = []
    script = []
    for line in rest.splitlines():
        found = _NOTE.match(line)
        if found is None:
            script.append(line)
            continue
        word, about, said = found.groups()
        if word == "table":
            parts.append(_part(said))
        elif word == "read":
            parts[-1] = msgspec.structs.replace(parts[-1], columns=parts[-1].columns + _columns(said))
        elif word == "include":
            script.append((Path(__file__).parent / f"move_in_{said.strip()}.sql").read_text("utf-8"))
        elif word == "seal":
            column, _, kind = said.partition(" as ")
            parts[-1] = msgspec.structs.replace(parts[-1], seals=(*parts[-1].seals, (column, kind)))
        elif word in {"refuse", "note"}:
            reason, condition = said.split(" | ", 1)
            rules.append(Rule(about, reason.strip(), condition.strip(), word == "refuse"))
        elif word == "count":
            given, kept, join = (piece.strip() for piece in said.split("|", 2))
            counts.append(Count(about, given, kept, join))
        else:
            raise ValueError(f"{name}: what is “{word}”?")
    return Step(name.strip(), tuple(parts), tuple(rules), tuple(counts), "\n".join(script).strip())


def _part(said: str) -> Part:
    own, _, of = said.partition(", of ")
    table, _, key = own.partition(" by ")
    parent, _, link = of.partition(" by ")
    return Part(table, key, parent, link, (), ())


def _columns(said: str) -> tuple[Column, ...]:
    return tuple(_column(piece.strip()) for piece in re.split(r",\s+(?![^(]*\))", said))


def _column(said: str) -> Column:
    declared, _, computed = said.partition(" = ")
    name, _, kind = declared.partition(" ")
    kind, is_optional = kind.removesuffix("?"), kind.endswith("?")
    if kind not in _KINDS:
        raise ValueError(f"{name}: what kind is “{kind}”?")
    if computed:
        expression, _, needs = computed.rpartition(" of ")
        return Column(name, kind, expression, tuple(needs.split()), is_optional)
    return Column(name, kind, f'"{name}"', (name,), is_optional)
