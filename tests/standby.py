"""A real standby of a server that runs: copied with pg_basebackup, replaying what the primary writes."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from tradepost.core.archiving.client import run_client
from tradepost.core.embedded import PostgresServer, embedded_postgres
from tradepost.core.home import open_home

QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "16MB"}


@asynccontextmanager
async def standby_of(dsn: str, folder: Path) -> AsyncIterator[PostgresServer]:
    """Run a standby of the server at an address, in a folder of its own, for the length of the block."""
    home = open_home(folder)
    open_the_way(Path(parse_qs(urlsplit(dsn).query)["host"][0]))
    try:
        await run_client(
            "pg_basebackup", dsn, f"--pgdata={home.pg}", "--checkpoint=fast", "--write-recovery-conf", "--no-sync"
        )
        async with embedded_postgres(home.path, QUICK) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_the_way(sockets: Path) -> None:
    """Let the user whom the servers run as walk to a primary's socket: root's folders are closed to that one."""
    for folder in sockets.parents:
        if (entry := folder.stat()).st_uid == os.geteuid() and not entry.st_mode & 0o001:
            folder.chmod(entry.st_mode | 0o011)


async def value(dsn: str, sql: str) -> object:
    """Ask a server one thing."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()
