"""What import contracts cannot say about the shape of the code. Each rule is the honest one: what it leaves out is named."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Table

from tradepost.core.errors import DomainError
from tradepost.migrations.schema import metadata

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tradepost"
EDGES = {"api", "web", "cli", "worker", "app", "__main__"}
OUTSIDE = {"migrations", "presets"}
MODULES = sorted(
    path.name
    for path in SOURCE.iterdir()
    if path.is_dir() and path.name not in {*EDGES, *OUTSIDE, "core", "flows", "__pycache__"}
)

# Flows that write other modules' tables themselves, and why no module's command would do.
FLOWS_THAT_WRITE = {
    "install_store": "fills reference tables from the preset, as the owner",
    "pricing_rules": "fills tax, delivery, commission and promo tables from the preset, as the owner",
    "load_sample": "loads sample data whole, in bulk",
    "sample_orders": "loads orders and addresses of the sample whole, in bulk",
    "sample_talk": "loads shows and conversations of the sample whole, in bulk",
    "grow_sample": "loads a million listings by COPY",
    "move_in": "moves other systems' databases in by COPY, by the statements of the presets' import.sql",
    "refund": "books what became of a refund on its payment and its part, in one statement",
    "sweep": "throws away carts that nobody came back to",
}
# Files below the flows that open a transaction of their own, and why their caller's would not do. Jobs always do.
OPEN_THEIR_OWN = {
    "core/idempotency.py": "the reply is kept in the transaction it opens around the work",
    "core/health.py": "is asked by the server, not by a flow",
    "core/housekeeping.py": "is jobs",
    "core/job_runner.py": "runs the jobs",
    "search/log.py": "notes a search after the reply was sent",
    "analytics/noting.py": "notes what visitors do after the reply was sent",
    "search/counting.py": "is jobs: counts in batches, so that nobody waits for its locks",
    "search/vectors.py": "is jobs: nothing is locked while the model works",
}


@cache
def sources() -> dict[str, ast.Module]:
    """Return every module of the package, parsed, by its path."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if "versions" not in path.parts:
            found[name] = ast.parse(path.read_text("utf-8"), name)
    return found


@cache
def owners() -> dict[str, str]:
    """Return whose each table is."""
    owned = {}
    for path in SOURCE.glob("*/tables.py"):
        tables = importlib.import_module(f"tradepost.{path.parent.name}.tables")
        for thing in vars(tables).values():
            if isinstance(thing, Table):
                owned.setdefault(thing.name, path.parent.name)
    return owned


def layer(name: str) -> str:
    return name.partition("/")[0].removesuffix(".py")


def is_below_flows(name: str) -> bool:
    return layer(name) not in {"flows", *EDGES, *OUTSIDE, "__init__"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            yield node


def strings(tree: ast.AST) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def table_imports(tree: ast.AST) -> Iterator[str]:
    """Yield the modules whose tables a file imports."""
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if re.fullmatch(r"tradepost\.\w+\.tables", name))


def test_tables_are_known_to_their_module_and_to_those_who_join_them() -> None:
    """Another module's tables are imported by `queries.py` only, to join them in a read, and by flows; by edges never."""
    allowed = {"queries.py"}
    strangers = [
        f"{name} imports the tables of {owner}"
        for name, tree in sources().items()
        for owner in table_imports(tree)
        if owner != layer(name) and layer(name) not in {"flows", "migrations"} and Path(name).name not in allowed
    ]
    assert strangers == []


_WRITES = re.compile(r"\b(?:INSERT INTO|UPDATE|DELETE FROM|MERGE INTO)\s+(?:ONLY\s+)?([a-z_]+)")


def written(tree: ast.AST) -> Iterator[str]:
    """Yield the tables that a file's statements write, composed ones and raw ones."""
    for call in calls(tree, "insert", "update", "delete", "upsert", "pg_insert"):
        if call.args and isinstance(call.args[0], ast.Name):
            yield call.args[0].id
        elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            yield call.func.value.id
    for call in calls(tree, "copy_in"):
        yield from (arg.value for arg in call.args[:1] if isinstance(arg, ast.Constant))
    for text in strings(tree):
        yield from _WRITES.findall(text)


def test_tables_are_written_by_their_own_module() -> None:
    """But for the flows that are named above with their reason."""
    strangers = {
        (name, table)
        for name, tree in sources().items()
        for table in written(tree)
        if owners().get(table, layer(name)) != layer(name) and layer(name) != "migrations"
    }
    unexplained = sorted(s for s in strangers if Path(s[0]).stem not in FLOWS_THAT_WRITE or layer(s[0]) != "flows")
    assert unexplained == []
    assert {Path(name).stem for name, _ in strangers} >= {
        "load_sample",
        "install_store",
    }  # or this test looks at nothing


def test_below_the_flows_nobody_takes_a_store() -> None:
    """A job is handed one, because it is where the work begins."""
    takers = [
        f"{name}: {function.name}"
        for name, tree in sources().items()
        if is_below_flows(name) and Path(name).name not in {"jobs.py", "housekeeping.py", "job_runner.py"}
        for function in functions(tree)
        for argument in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        if argument.annotation is not None and ast.unparse(argument.annotation).rpartition(".")[2] == "Store"
    ]
    assert takers == []


def test_below_the_flows_a_database_is_for_reading() -> None:
    """Whoever takes `db` there reads public rows in one round trip; transactions are opened above, but for those named."""
    openers = {
        name
        for name, tree in sources().items()
        if is_below_flows(name) and any(calls(tree, "transaction")) and Path(name).name != "jobs.py"
    }
    assert openers - OPEN_THEIR_OWN.keys() - {"core/database.py"} == set()


def test_only_the_database_commits() -> None:
    committers = [
        name
        for name, tree in sources().items()
        for text in strings(tree)
        if re.match(r"\s*(COMMIT|ROLLBACK|BEGIN)\b", text) and layer(name) != "migrations"
    ]
    assert set(committers) == {"core/database.py", "core/pools.py"}  # the pool gives a connection back as it was


def test_no_module_uses_an_orm_session() -> None:
    users = [
        name
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy.orm")
    ]
    assert users == []


VAGUE = re.compile(r"(^|_)(utils?|helpers?|managers?|common|misc|base|stuff)(_|$)")


def in_words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def test_no_name_says_nothing() -> None:
    files = {path.stem for folder in (SOURCE, ROOT / "tests", ROOT / "tools") for path in folder.rglob("*.py")}
    folders = {part for path in SOURCE.rglob("*.py") for part in path.relative_to(SOURCE).parts[:-1]}
    defined = {thing.name for tree in sources().values() for thing in public(tree)}
    assert sorted(name for name in files | folders | defined if VAGUE.search(in_words(name))) == []


def test_every_file_says_what_it_owns() -> None:
    silent = [name for name, tree in sources().items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_owns_promises_and_leaves_out(module: str) -> None:
    tree = sources()[f"{module}/__init__.py"]
    said = ast.get_docstring(tree) or ""
    assert len(tree.body) == 1, "a module's __init__.py is its docstring and no code"
    first, *rest = said.split("\n\n")
    assert re.fullmatch(r"[A-Z][^.]*\.", first, re.DOTALL), "the first paragraph is one sentence: what this is about"
    assert "Promises" in said
    assert re.search(r"\b(not|never|nothing)\b", " ".join(rest)), "and it says what the module leaves to others"


def is_overload(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator) == "overload" for decorator in function.decorator_list)


def public(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public classes and functions of a file, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
                    yield inner


def test_everything_public_has_a_docstring() -> None:
    silent = [
        f"{name}: {thing.name}"
        for name, tree in sources().items()
        for thing in public(tree)
        if not ast.get_docstring(thing)
        and not (isinstance(thing, ast.FunctionDef | ast.AsyncFunctionDef) and is_overload(thing))
    ]
    assert silent == []


def test_every_table_says_what_it_holds() -> None:
    assert [table.name for table in metadata.sorted_tables if not table.comment] == []


def test_the_schema_imports_every_table() -> None:
    imported = set(table_imports(sources()["migrations/schema.py"]))
    assert imported == {path.parent.name for path in SOURCE.glob("*/tables.py")}


def every(kind: type) -> set[type]:
    """Return the classes below `kind` that the package declares."""
    for name in sources():
        if layer(name) not in {"migrations", "__main__"}:
            importlib.import_module("tradepost." + name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
    found, left = set(), [kind]
    while left:
        for child in left.pop().__subclasses__():
            if child.__module__.startswith("tradepost.") and child not in found:
                found.add(child)
                left.append(child)
    return found


def test_an_errors_code_is_its_own() -> None:
    """A program matches on the class name, so two errors must not share one."""
    names = [error.__name__ for error in every(DomainError)]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_events_are_frozen_facts() -> None:
    loose = []
    for path in SOURCE.glob("*/events.py"):
        if path.parent.name == "core":
            continue
        events = importlib.import_module(f"tradepost.{path.parent.name}.events")
        for thing in vars(events).values():
            if isinstance(thing, type) and issubclass(thing, msgspec.Struct) and thing.__module__ == events.__name__:
                is_past = re.search(
                    r"(ed|en|paid|sold|sent|made|lost|withdrawn|_up|_in|_out)$", in_words(thing.__name__)
                )
                if not thing.__struct_config__.frozen or not is_past:
                    loose.append(f"{path.parent.name}: {thing.__name__}")
    assert loose == []


MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|^\s*#\s*[-=#*]{4,}", re.MULTILINE)
ELSEWHERE = re.compile(r"\.\./shared|/work/|/root/|/home/\w+/")


@pytest.mark.parametrize("folder", ["src", "tests"])
def test_nothing_is_put_off_and_nothing_depends_on_one_machine(folder: str) -> None:
    bad = []
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in {".py", ".sql", ".html", ".toml", ".css"} and path != Path(__file__):
            text = path.read_text("utf-8")
            bad += [
                f"{path.relative_to(ROOT)}: {found[0]}"
                for found in (MARKS.search(text), ELSEWHERE.search(text))
                if found
            ]
    assert bad == []
