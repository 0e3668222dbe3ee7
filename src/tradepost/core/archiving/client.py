"""PostgreSQL's own client programs, run with an address whose password is nowhere to be seen."""

import asyncio
import os
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from tradepost.core.embedded.programs import postgres_programs
from tradepost.core.errors import Unavailable


@dataclass(eq=False)
class DumpFailed(Unavailable):
    """{program} failed: {said}"""

    program: str
    said: str


def without_password(dsn: str) -> tuple[str, dict[str, str]]:
    """Return an address as arguments may show it, and the environment that goes with it."""
    parts = urlsplit(dsn)
    environment = {"PGCONNECT_TIMEOUT": "10"}
    if parts.password:
        environment["PGPASSWORD"] = unquote(parts.password)
        host = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{quote(unquote(parts.username or ''), safe='')}@{host}")
    return urlunsplit(parts), environment


async def run_client(program: str, dsn: str, *options: str) -> None:
    """Run a client program against a server. Raises `DumpFailed`."""
    shown, environment = without_password(dsn)
    await run_program(program, *options, f"--dbname={shown}", **environment)


async def run_program(program: str, *options: str, **environment: str) -> None:
    """Run one of PostgreSQL's programs to its end. Raises `DumpFailed` with the first line of its complaint."""
    process = await asyncio.create_subprocess_exec(
        str(postgres_programs(None).folder / program), *options, env={**os.environ, "LC_ALL": "C", **environment},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode:
        raise DumpFailed(
            program, said.decode(errors="replace").strip().splitlines()[0] if said.strip() else "no reason"
        )
