"""`tradepost doctor`: is this set-up right, and what to do where it is not.

It changes nothing, but writes the file `doctor/probe` into each store's files and takes it away again.
"""

import asyncio
import os
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from tradepost.cli.doctor_database import UNREADABLE, connect, look, look_through_pooler, why_not
from tradepost.cli.findings import Finding, State
from tradepost.cli.serve import files_of
from tradepost.core.crypto import Keyring, open_keyring
from tradepost.core.errors import DomainError
from tradepost.core.files import FileStore
from tradepost.core.health import LEAST_FREE_BYTES, LOW_FREE_BYTES
from tradepost.core.home import Home, find_home
from tradepost.core.settings import HttpSettings, Settings, TracingSettings, load_settings
from tradepost.core.tracing import NOT_INSTALLED, check_tracing, is_installed
from tradepost.flows.preset import find_presets, load_preset
from tradepost.flows.store import database_name
from tradepost.notifications.adapters.smtp import SmtpServer

_WAIT_S: Final = 5.0
_PROBE: Final = "doctor/probe"
_MARKS: Final[Mapping[State, str]] = {"good": "[green]ok[/]  ", "warn": "[yellow]mind[/]", "bad": "[bold red]bad[/] "}


async def examine(settings_file: Path | None, backups: str, *, as_json: bool) -> bool:
    """Look at everything, print what was found, and return whether nothing is bad."""
    found = [finding async for finding in look_at(settings_file or Path("tradepost.toml"), os.environ, backups)]
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        tell(found, Console())
    return all(finding.state != "bad" for finding in found)


def tell(found: list[Finding], console: Console) -> None:
    """Print findings, a line each, with what to do below those that are not good."""
    for finding in found:
        place = f"{finding.store}: " if finding.store else ""
        console.print(f"{_MARKS[finding.state]} {place}{finding.what}", end="", highlight=False)
        console.print(f": {finding.said}", markup=False, highlight=False, soft_wrap=True)
        if finding.mend:
            console.print(f"     {finding.mend}", style="dim", markup=False, highlight=False, soft_wrap=True)
    bad, mind = (sum(f.state == state for f in found) for state in ("bad", "warn"))
    console.print(f"{len(found)} things looked at, {bad} bad, {mind} to mind.", highlight=False)


async def look_at(file: Path, environment: Mapping[str, str], backups: str) -> AsyncIterator[Finding]:
    """Yield what is found of the installation, and then of each of its stores."""
    try:
        settings = load_settings(file, environment)
        presets = find_presets(settings.stores, settings.presets)
        for folder in presets.values():
            load_preset(folder)
    except DomainError as error:
        yield Finding(
            "", "settings", "bad", error.message, "Mend that line; docs/reference/settings.md lists every setting."
        )
        return
    yield Finding("", "settings", "good", f"read from {_origin(file)}; stores: {', '.join(presets)}")
    home = Home(find_home(environment).expanduser().absolute())
    keys: Keyring | None = None
    for finding, ring in _folders(settings, home):
        keys = ring or keys
        yield finding
    for finding in _http(settings.http):
        yield finding
    yield await _mail(settings.mail.smtp_url)
    if settings.tracing.endpoint:
        yield await _tracing(settings.tracing)
    for code in presets:
        async for finding in _store(settings, home, code, keys):
            yield finding
        yield await _backup(code, backups)
    if settings.http.scheme == "https":
        host = settings.http.domain if len(presets) == 1 else f"{next(iter(presets))}.{settings.http.domain}"
        yield await asyncio.to_thread(certificate, host, 443, ssl.create_default_context())


def _origin(file: Path) -> str:
    return f"{file} and the environment" if file.exists() else f"the environment alone: there is no {file}"


def _folders(settings: Settings, home: Home) -> list[tuple[Finding, Keyring | None]]:
    """Look at the home, its disk and the keys, without making any of them."""
    path = home.path
    if not path.is_dir():
        mend = "Set TRADEPOST_HOME to the folder that serve and worker use; they make it at their first start."
        return [(Finding("", "home", "warn", f"there is no folder {path} yet", mend), _given_keys(settings))]
    found: list[tuple[Finding, Keyring | None]] = []
    if os.access(path, os.R_OK | os.W_OK | os.X_OK):
        found.append((Finding("", "home", "good", str(path)), None))
    else:
        found.append(
            (Finding("", "home", "bad", f"{path} cannot be written", "Give it to the user who runs tradepost."), None)
        )
    free = shutil.disk_usage(path).free
    state: State = "bad" if free < LEAST_FREE_BYTES else "warn" if free < LOW_FREE_BYTES else "good"
    mend = "" if state == "good" else "Make room: old backups, logs, months of the audit log."
    found.append((Finding("", "disk", state, f"{free // (1024 * 1024):,} MB free", mend), None))
    if not settings.secret_key and not (path / "keys" / "keys").exists():
        mend = "The first start makes one. With several machines, give all the same secret_key."
        return [*found, (Finding("", "key", "warn", "there is none yet", mend), None)]
    try:
        ring = open_keyring(settings.secret_key, path / "keys")
    except (DomainError, OSError) as error:
        return [
            *found,
            (
                Finding(
                    "",
                    "key",
                    "bad",
                    str(error),
                    "Give secret_key 32 bytes as base64; docs/how-to/rotate-keys.md says how.",
                ),
                None,
            ),
        ]
    return [*found, (Finding("", "key", "good", f"{len(ring.key_ids)} in the ring"), ring)]


def _given_keys(settings: Settings) -> Keyring | None:
    try:
        return Keyring.from_text(settings.secret_key, "secret_key") if settings.secret_key else None
    except DomainError:
        return None


def _http(http: HttpSettings) -> list[Finding]:
    found = []
    is_local = http.domain == "localhost" or http.domain.endswith(".localhost")
    if http.scheme == "http" and not is_local:
        found.append(
            Finding(
                "",
                "http",
                "bad",
                f"{http.domain} is served without TLS: passwords travel in the clear",
                'Put Caddy or nginx in front, and set http.scheme = "https".',
            )
        )
    elif http.scheme == "https" and not http.trusted_proxies:
        found.append(
            Finding(
                "",
                "http",
                "bad",
                "no proxy is trusted, so everybody seems to come from the proxy’s address: limits and sign-ins count all as one",
                'Name it: http.trusted_proxies = ["127.0.0.1"].',
            )
        )
    else:
        found.append(
            Finding("", "http", "good", f"{http.scheme}://{http.domain}, {http.workers} processes on port {http.port}")
        )
    return found


async def _mail(url: str) -> Finding:
    if not url:
        return Finding(
            "",
            "mail",
            "warn",
            "no mail server: letters are only written to the outbox page",
            "Set mail.smtp_url; docs/how-to/send-mail.md says how.",
        )
    try:
        server = SmtpServer.from_url(url)
    except DomainError as error:
        return Finding("", "mail", "bad", error.message, "smtp://user:password@host:587 or smtps://host.")
    try:
        async with asyncio.timeout(_WAIT_S):
            _, writer = await asyncio.open_connection(server.host, server.port)
        writer.close()
    except (OSError, TimeoutError) as error:
        return Finding(
            "",
            "mail",
            "bad",
            f"{server.host}:{server.port} does not answer: {error or 'no answer within five seconds'}",
            "See the host and port in mail.smtp_url, and that the firewall lets this machine out.",
        )
    return Finding("", "mail", "good", f"{server.host}:{server.port} answers")


async def _tracing(tracing: TracingSettings) -> Finding:
    """See that traces can be made, and that somebody takes them."""
    mend = "docs/how-to/watch-over-it.md says how traces are set up."
    try:
        check_tracing(tracing)
    except DomainError as error:
        return Finding("", "tracing", "bad", error.message, mend)
    if not is_installed():
        return Finding("", "tracing", "bad", NOT_INSTALLED, mend)
    place = urlsplit(tracing.endpoint)
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_WAIT_S):
            _, writer = await asyncio.open_connection(place.hostname, port)
        writer.close()
    except (OSError, TimeoutError) as error:
        said = f"{place.hostname}:{port} does not answer: {error or 'no answer within five seconds'}"
        return Finding("", "tracing", "warn", f"{said}; traces are lost meanwhile", "See that the collector runs.")
    return Finding("", "tracing", "good", f"{place.hostname}:{port} answers")


async def _store(settings: Settings, home: Home, code: str, keys: Keyring | None) -> AsyncIterator[Finding]:
    name = database_name(code)
    database = settings.database
    if not database.url:
        yield Finding(
            code,
            "database",
            "bad",
            "database.url is empty: only `tradepost demo` brings a server along",
            "Set database.url, such as postgresql://tradepost_app@/{database}?host=/run/postgresql",
        )
    else:
        async for finding in _database(settings, code, database.direct_url or database.url, keys):
            yield finding
        if database.direct_url:
            async for finding in look_through_pooler(database.url.replace("{database}", name), code):
                yield finding
    for number, url in enumerate(database.replica_urls, 1):
        yield await _replica(code, f"replica {number}", url.replace("{database}", name))
    yield await _cache(code, settings.cache.url.replace("{database}", name))
    yield await _files(code, settings, home)


async def _database(settings: Settings, code: str, url: str, keys: Keyring | None) -> AsyncIterator[Finding]:
    dsn = url.replace("{database}", database_name(code))
    try:
        connection = await connect(dsn)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        yield why_not(error, code, "database")
        return
    try:
        yield Finding(code, "database", "good", "answers")
        size = settings.database.pool_size
        wanted = len(settings.stores) * (settings.http.workers + 1) * (size + max(2, size // 2) + 2)
        async for finding in look(connection, code, settings.database, keys, wanted):
            yield finding
        host = urlsplit(dsn).hostname or ""
        if host not in {"", "localhost", "127.0.0.1", "::1"} and not await _is_encrypted(connection):
            yield Finding(
                code,
                "encryption",
                "warn",
                f"what is said to {host} can be read on the way",
                "Add sslmode=verify-full to the address, and TLS to PostgreSQL.",
            )
    finally:
        await connection.close(timeout=2)


async def _is_encrypted(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))


async def _replica(code: str, what: str, dsn: str) -> Finding:
    try:
        connection = await connect(dsn)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        return why_not(error, code, what)
    try:
        follows, lag, feedback = await connection.fetchrow("""
            SELECT pg_is_in_recovery(), coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::float8,
                   current_setting('hot_standby_feedback')
        """)
    finally:
        await connection.close(timeout=2)
    if not follows:
        return Finding(
            code,
            what,
            "bad",
            "it follows nobody: what it holds is its own",
            "Let database.replica_urls name standbys of the database.",
        )
    if feedback != "on":
        return Finding(
            code,
            what,
            "warn",
            "it breaks off what it reads whenever the primary cleans up (hot_standby_feedback = off)",
            "Set hot_standby_feedback = on in its postgresql.conf and reload it.",
        )
    state: State = "warn" if lag > 600 else "good"
    return Finding(
        code,
        what,
        state,
        f"its last change is {lag:.0f} s old",
        "" if state == "good" else "Where changes are made all the time, it hangs behind: see pg_stat_replication.",
    )


async def _cache(code: str, url: str) -> Finding:
    if not url:
        return Finding(
            code,
            "cache",
            "bad",
            "cache.url is empty: only `tradepost demo` brings a server along",
            "Set cache.url, such as redis://127.0.0.1:6379/0",
        )
    try:
        client: Any = Redis.from_url(url, socket_timeout=_WAIT_S, socket_connect_timeout=_WAIT_S, protocol=2)
    except ValueError:
        return Finding(code, "cache", "bad", "the address cannot be read", UNREADABLE)
    try:
        info = await client.info("server")
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        return Finding(
            code,
            "cache",
            "warn",
            f"it does not answer ({error}); everything is served without it, slower",
            "See that Redis or Valkey runs, and the address in cache.url.",
        )
    finally:
        await client.aclose()
    version = str(info.get("valkey_version") or info.get("redis_version") or "0")
    if int(version.partition(".")[0]) < 6:
        return Finding(code, "cache", "bad", f"version {version} is too old", "Redis 6 or newer, or Valkey.")
    return Finding(code, "cache", "good", f"version {version} answers")


async def _files(code: str, settings: Settings, home: Home) -> Finding:
    """Write a small file and take it away again; a folder that no start has made yet is left unmade."""
    if not settings.files.url and not (home.path / "stores" / code).exists():
        return Finding(code, "files", "good", "the first upload makes their folder")
    try:
        files = FileStore.open(files_of(settings, home, code))
        await files.put(_PROBE, b"probe", "text/plain")
        await files.delete(_PROBE)
    except (DomainError, OSError) as error:
        return Finding(
            code,
            "files",
            "bad",
            str(error) or type(error).__name__,
            "See that the folder is there and belongs to the user who runs tradepost, or the keys of the S3 store.",
        )
    return Finding(code, "files", "good", "can be written")


async def _backup(code: str, place: str) -> Finding:
    """Look for the newest backup by its name, which says when it was made."""
    from tradepost.cli.backup_work import made_at, newest

    if not place:
        return Finding(
            code,
            "backup",
            "warn",
            "not looked for",
            "Say where they are: tradepost doctor --backups /var/backups/tradepost",
        )
    try:
        name = await newest(place, code) if _may_exist(place) else None
    except DomainError as error:
        return Finding(code, "backup", "bad", error.message, "Name a folder, or s3://bucket/prefix.")
    if name is None:
        return Finding(
            code,
            "backup",
            "bad",
            f"there is none at {place}",
            f"tradepost backup create --store {code}; systemctl enable --now tradepost-backup@{code}.timer",
        )
    hours = (datetime.now(UTC) - made_at(name)).total_seconds() / 3600
    state: State = "good" if hours < 36 else "warn" if hours < 24 * 7 else "bad"
    return Finding(
        code,
        "backup",
        state,
        f"the newest is {hours:.0f} hours old",
        "" if state == "good" else f"See why: systemctl status tradepost-backup@{code}.timer",
    )


def _may_exist(place: str) -> bool:
    """Whether a place is worth opening: a folder is made by that, and looking must not."""
    return "://" in place or Path(place).expanduser().is_dir()


def certificate(host: str, port: int, context: ssl.SSLContext) -> Finding:
    """Look at the certificate that people are shown."""
    try:
        with (
            socket.create_connection((host, port), timeout=_WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            ends = str((secure.getpeercert() or {}).get("notAfter", ""))
    except ssl.SSLCertVerificationError as error:
        return Finding(
            "",
            "certificate",
            "bad",
            f"{host}: {error.verify_message}",
            "See the log of Caddy or certbot; browsers refuse this one.",
        )
    except (OSError, TimeoutError) as error:
        return Finding(
            "",
            "certificate",
            "warn",
            f"{host}:{port} cannot be asked from here: {error}",
            "See from outside that the address answers with TLS.",
        )
    days = (ssl.cert_time_to_seconds(ends) - datetime.now(UTC).timestamp()) / 86_400
    state: State = "good" if days > 14 else "warn" if days > 3 else "bad"
    return Finding(
        "",
        "certificate",
        state,
        f"{host}: {days:.0f} days left",
        "" if state == "good" else "It should have been renewed by now: see the log of Caddy or certbot.",
    )
