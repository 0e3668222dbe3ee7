"""Write the generated parts of docs/reference anew: commands, errors, events, and the roles of the presets.

    python tools/write_reference.py            # write
    python tools/write_reference.py --check    # change nothing; exit with 1 where a page is out of date

A page holds its generated parts between two comments; everything around them is written by hand and stays.
"""

import argparse
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import typer

import tradepost
from tradepost.cli import EXIT_CODES, cli
from tradepost.core.errors import DomainError
from tradepost.core.settings import Settings
from tradepost.flows.preset import PRESETS, load_preset
from tradepost.web.errors import STATUS
from tradepost.worker import compose

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
BEGIN, END = "<!-- generated: {} -->", "<!-- end of generated part -->"
OPENING = re.compile(r"<!-- generated: ([a-z-]+) -->")
# What is written from what is imported: everything but revisions, which only Alembic runs.
LEFT_OUT = ("tradepost.__main__", "tradepost.migrations.env", "tradepost.migrations.versions")


def import_everything() -> None:
    """Import every module of the package, so that its classes are known."""
    for found in pkgutil.walk_packages(tradepost.__path__, "tradepost."):
        if not found.name.startswith(LEFT_OUT):
            importlib.import_module(found.name)


def table(heading: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def first_line(thing: Any) -> str:
    """Return the first sentence or paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def home_of(thing: type) -> str:
    """Return the module of the product, or the file of core, that declares a class."""
    parts = thing.__module__.split(".")[1:]
    return ".".join(parts[:2]) if parts[0] in {"core", "flows", "cli", "web", "api"} else parts[0]


def below(kind: type) -> list[type]:
    """Return the classes of the package below `kind`."""
    found: list[type] = []
    for child in kind.__subclasses__():
        if child.__module__.startswith("tradepost.") and child not in found:
            found += [child, *(c for c in below(child) if c not in found)]
    return found


def kinds_part() -> str:
    """What each kind of error is answered with."""
    rows = ((f"`{kind}`", str(status), str(EXIT_CODES[kind])) for kind, status in STATUS.items())
    return table(("Kind", "HTTP status", "Exit code of `tradepost`"), rows)


def errors_part() -> str:
    """Every domain error: its code, kind, fields and sentence."""
    by_home: dict[str, list[type]] = {}
    for error in below(DomainError):
        by_home.setdefault(home_of(error), []).append(error)
    parts = []
    for home, errors in sorted(by_home.items()):
        rows = (
            (f"`{e.__name__}`", f"`{e.kind}`", fields_of(e), first_line(e))
            for e in sorted(errors, key=lambda e: e.__name__)
        )  # type: ignore[attr-defined]  # DomainError has it
        parts.append(f"### {home}\n\n" + table(("Code", "Kind", "Fields", "Sentence"), rows))
    return "\n\n".join(parts)


def fields_of(thing: type) -> str:
    """Return a class's own fields with their types, as code."""
    if is_dataclass(thing):
        named = [(f.name, f.type) for f in fields(thing)]
    elif issubclass(thing, msgspec.Struct):
        named = [(f.name, f.type) for f in msgspec.structs.fields(thing)]
    else:
        named = []
    return ", ".join(f"`{name}: {type_name(kind)}`" for name, kind in named) or "–"


def type_name(kind: Any) -> str:
    """Return a type as one would write it, without modules."""
    text = (
        kind
        if isinstance(kind, str)
        else getattr(kind, "__name__", str(kind))
        if isinstance(kind, type) and "[" not in str(kind)
        else str(kind)
    )
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)


def events_part() -> str:
    """Every recorded fact: its name, fields, meaning and who reacts."""
    compose()
    from tradepost.core.events import subscriptions

    reactions = subscriptions()
    parts = []
    for name in sorted(sys.modules):
        if re.fullmatch(r"tradepost\.(?!core)\w+\.events", name):
            events = [
                thing for thing in vars(sys.modules[name]).values()
                if isinstance(thing, type) and issubclass(thing, msgspec.Struct) and thing.__module__ == name
            ]  # fmt: skip
            rows = (
                (
                    f"`{e.__name__}`",
                    first_line(e),
                    fields_of(e),
                    ", ".join(f"`{s.job}`" for s in reactions.get(e, ())) or "–",
                )
                for e in events
            )
            parts.append(f"### {name.split('.')[1]}\n\n" + table(("Event", "When", "Fields", "Jobs that react"), rows))
    return "\n\n".join(parts)


def commands_part() -> str:
    """Every command of the command line with its options."""
    root = typer.main.get_command(cli)
    parts = [section for name, command in command_tree(root, "tradepost") for section in [command_part(name, command)]]
    return "\n\n".join(parts)


def command_tree(group: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command below a group with its full name."""
    children = getattr(group, "commands", None)
    if children is None:
        yield name, group
        return
    for child, command in children.items():
        yield from command_tree(command, f"{name} {child}")


def command_part(name: str, command: click.Command) -> str:
    """Describe one command."""
    rows = []
    for option in command.params:
        if option.name == "help":
            continue
        spelled = ", ".join(f"`{o}`" for o in option.opts)
        variable = f" (or `{option.envvar}`)" if option.envvar else ""
        default = (
            "required" if option.required else f"`{option.default}`" if option.default not in {None, "", False} else "–"
        )
        rows.append((spelled + variable, getattr(option, "help", None) or "–", default))
    about = " ".join((command.help or "").split())
    options = "\n\n" + table(("Option", "Meaning", "Default"), iter(rows)) if rows else ""
    return f"### `{name}`\n\n{about}{options}"


def roles_part() -> str:
    """Every preset's roles with what they allow."""
    parts = []
    for code in Settings().stores:
        preset = load_preset(PRESETS / code)
        rows = (
            (
                f"`{role.code}`",
                role.name,
                role.description,
                ", ".join(f"`{p}`" for p in role.permissions),
                how_given(role),
            )
            for role in preset.roles
        )
        heading = ("Role", "Shown as", "For whom", "Permissions", "How one gets it")
        parts.append(f"### {preset.store.name} (`{code}`)\n\n" + table(heading, rows))
    return "\n\n".join(parts)


def how_given(role: Any) -> str:
    """Say how a person comes to a role."""
    ways = (["everybody new"] if role.default else []) + (["chosen at sign-up"] if role.self_service else [])
    return ", ".join(ways) or "given by who manages people"


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands_part,
    "kinds": kinds_part,
    "errors": errors_part,
    "events": events_part,
    "roles": roles_part,
}


def rewritten(text: str) -> str:
    """Return a page with its generated parts written anew. Raises KeyError for a part that nobody writes."""
    pieces = OPENING.split(text)
    out = [pieces[0]]
    for name, rest in zip(pieces[1::2], pieces[2::2], strict=True):
        out += [BEGIN.format(name), "\n\n", PARTS[name](), "\n\n", END, rest.partition(END)[2]]
    return "".join(out)


def main() -> int:
    """Write, or check, every page that has generated parts."""
    parser = argparse.ArgumentParser(description="Write the generated parts of docs/reference anew.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail where a page is out of date")
    check = parser.parse_args().check
    import_everything()
    stale = []
    for page in sorted(REFERENCE.glob("*.md")):
        text = page.read_text("utf-8")
        if OPENING.search(text) and (new := rewritten(text)) != text:
            stale.append(page.name)
            if not check:
                page.write_text(new, "utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'nothing'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
