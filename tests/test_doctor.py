"""`tradepost doctor`: what is wrong with a set-up, in words, and what to do; nothing is changed by looking."""

import json
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import asyncpg
import pytest
from typer.testing import CliRunner

from tests.conftest import Servers
from tradepost.cli import cli
from tradepost.cli.doctor import certificate, look_at
from tradepost.cli.findings import Finding

PRESETS = Path(__file__).parent / "presets"


class Setup:
    """An installation of one store, on the servers of the tests."""

    def __init__(self, folder: Path, dsn: str, cache_url: str) -> None:
        self.folder = folder
        self.values = {
            "TRADEPOST_STORES": "market",
            "TRADEPOST_PRESETS": str(PRESETS),
            "TRADEPOST_DATABASE__URL": dsn,
            "TRADEPOST_CACHE__URL": cache_url,
            "TRADEPOST_HOME": str(folder / "home"),
            "TRADEPOST_HTTP__DOMAIN": "localhost",
        }
        (folder / "home" / "keys").mkdir(parents=True)
        (folder / "home" / "stores" / "market").mkdir(parents=True)

    async def look(self, backups: str = "", **changed: str) -> dict[str, Finding]:
        """Return what is found, by its name."""
        values = self.values | {f"TRADEPOST_{key.upper()}": value for key, value in changed.items()}
        found = [finding async for finding in look_at(self.folder / "none.toml", values, backups)]
        assert len({f.what for f in found}) == len(found)
        assert all(f.mend for f in found if f.state != "good"), "whatever is not good says what to do"
        return {f.what: f for f in found}


@pytest.fixture
def setup(tmp_path: Path, store_dsn: str, servers: Servers) -> Setup:
    return Setup(tmp_path, store_dsn, servers.cache_url)


def states(found: dict[str, Finding]) -> dict[str, str]:
    return {what: finding.state for what, finding in found.items()}


def backup_made(folder: Path, hours: float, store: str = "market") -> None:
    moment = datetime.now(UTC) - timedelta(hours=hours)
    folder.mkdir(exist_ok=True)
    (folder / f"tradepost-{store}-{moment:%Y%m%dT%H%M%S}000Z.tpb").write_bytes(b"")


async def test_a_sound_setup_is_called_sound(setup: Setup) -> None:
    backup_made(setup.folder / "kept", 200, "market")
    backup_made(setup.folder / "kept", 5, "market")
    backup_made(setup.folder / "kept", 1, "omade")
    found = await setup.look(str(setup.folder / "kept"))
    wrong = {what: state for what, state in states(found).items() if state != "good"}
    # The tests' server forgoes safety for speed, and there is neither a mail server nor a key yet.
    assert wrong == {"fsync": "bad", "full_page_writes": "bad", "mail": "warn", "key": "warn"}
    assert found["revision"].said[:4] >= "0034"
    assert found["role"].said == "tradepost_app, held by row-level security"
    assert found["backup"].said == "the newest is 5 hours old"
    assert found["extensions"].state == found["clock"].state == found["files"].state == "good"


async def test_looking_makes_nothing(setup: Setup) -> None:
    before = sorted(setup.folder.rglob("*"))
    await setup.look(str(setup.folder / "nowhere"))
    made = set(setup.folder.rglob("*")) - set(before)
    assert {path.name for path in made} <= {"files", "doctor"}


async def test_a_mistake_in_the_settings_is_named_with_its_line(setup: Setup) -> None:
    file = setup.folder / "tradepost.toml"
    file.write_text("[database]\npool_size = 0\n")
    found = [finding async for finding in look_at(file, {}, "")]
    assert [(f.what, f.state) for f in found] == [("settings", "bad")]
    assert f"{file}:2:" in found[0].said


async def test_a_role_that_row_level_security_does_not_hold_is_bad(setup: Setup, servers: Servers) -> None:
    name = setup.values["TRADEPOST_DATABASE__URL"].rpartition("/")[2].partition("?")[0]
    found = await setup.look(database__url=servers.dsn(name, "postgres"))
    assert found["role"].state == "bad"
    assert "tradepost_app" in found["role"].mend


async def test_a_database_that_is_not_there_behind_or_ahead_is_told_apart(setup: Setup, servers: Servers) -> None:
    found = await setup.look(database__url=servers.dsn("no_such_database", "tradepost_app"))
    assert (found["database"].said, found["database"].mend) == ("there is no such database", "Run: tradepost migrate")
    found = await setup.look(database__url="postgresql://tradepost_app@127.0.0.1:1/market")
    assert found["database"].state == "bad"
    assert "host and port" in found["database"].mend
    name = setup.values["TRADEPOST_DATABASE__URL"].rpartition("/")[2].partition("?")[0]
    connection = await asyncpg.connect(servers.dsn(name, "postgres"))
    await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert (await setup.look())["revision"].mend == "Run: tradepost migrate"
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "older than the database" in (await setup.look())["revision"].mend
    await connection.execute("INSERT INTO encryption_keys (key_id) VALUES ('gone')")
    await connection.execute("""
        INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, status) VALUES (0, 'a.b', NULL, now() - interval '1 hour', 'queued')
    """)
    await connection.close()
    (setup.folder / "home" / "keys" / "keys").write_text("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")
    found = await setup.look()
    assert "gone" in found["keys"].said
    assert found["jobs"].state == "warn"
    assert "tradepost worker" in found["jobs"].mend


async def test_behind_a_pooler_the_address_of_the_requests_is_looked_at_too(setup: Setup, servers: Servers) -> None:
    own = setup.values["TRADEPOST_DATABASE__URL"]
    name = own.rpartition("/")[2].partition("?")[0]
    found = await setup.look(database__direct_url=own)
    assert (found["pooler"].state, found["role of requests"].state) == ("good", "good")
    found = await setup.look(database__direct_url=own, database__url=servers.dsn(name, "postgres"))
    assert (found["role"].state, found["role of requests"].state) == ("good", "bad")
    found = await setup.look(database__direct_url=own, database__url="postgresql://tradepost_app@127.0.0.1:1/market")
    assert (found["database"].state, found["pooler"].state) == ("good", "bad")


async def test_an_address_that_cannot_be_read_is_named_without_what_it_says(setup: Setup) -> None:
    found = await setup.look(
        database__url="postgresql://app:x9kq/word@db/market", cache__url="redis://:x9kq/word@cache",
        database__replica_urls="postgresql://app:x9kq/word@db/market", mail__smtp_url="smtp://me:x9kq/word@mail",
    )  # fmt: skip
    for what in ("database", "cache", "replica 1", "mail"):
        assert found[what].state == "bad"
        assert "cannot be read" in found[what].said
    assert not any("x9kq" in finding.said for finding in found.values())


async def test_what_else_is_wrong_is_said_with_what_to_do(setup: Setup) -> None:
    found = await setup.look(
        str(setup.folder / "nowhere"), http__domain="shop.example", database__pool_size="500", secret_key="short",
        cache__url="redis://127.0.0.1:1/0", mail__smtp_url="smtp://127.0.0.1:1", files__url="/proc/nowhere",
        database__statement_cache="0",
    )  # fmt: skip
    expected = {
        "http": "bad", "connections": "bad", "key": "bad", "cache": "warn", "mail": "bad", "files": "bad", "backup": "bad", "pooler": "warn",
    }  # fmt: skip
    assert expected.items() <= states(found).items()
    assert "TLS" in found["http"].said
    assert "max_connections" in found["connections"].mend
    assert "127.0.0.1:1" in found["mail"].said
    assert "backup create --store market" in found["backup"].mend
    found = await setup.look(database__url="", cache__url="", mail__smtp_url="ftp://x")
    assert {"database": "bad", "cache": "bad", "mail": "bad"}.items() <= states(found).items()


async def test_behind_a_proxy_that_is_not_named_everybody_is_the_proxy(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "tradepost.cli.doctor.certificate",
        lambda host, port, _: asked.append((host, port)) or Finding("", "certificate", "good", ""),
    )
    found = await setup.look(http__domain="shop.example", http__scheme="https")
    assert found["http"].state == "bad"
    assert "trusted_proxies" in found["http"].mend
    assert asked == [("shop.example", 443)]


@pytest.mark.parametrize(("days", "state"), [(60, "good"), (10, "warn"), (2, "bad")])
def test_a_certificate_that_ends_soon_is_noticed(tmp_path: Path, days: int, state: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = tmp_path / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(pem)
    theirs = ssl.create_default_context(cafile=str(pem))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                plain, _address = server.accept()
                with suppress(ssl.SSLError, OSError), plain, ours.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(1)

        serving = Thread(target=serve)
        serving.start()
        port = server.getsockname()[1]
        found = certificate("localhost", port, theirs)
        strange = certificate("localhost", port, ssl.create_default_context())
        serving.join()
    assert (found.state, found.said) == (state, f"localhost: {days} days left")
    assert (strange.state, bool(strange.mend)) == ("bad", True)


def test_a_program_reads_it_as_json_and_by_its_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRADEPOST_HOME", str(tmp_path / "home"))
    answer = CliRunner().invoke(cli, ["doctor", "--json"])
    assert answer.exit_code == 1
    found = json.loads(answer.stdout)
    assert {"store": "omade", "what": "database", "state": "bad"}.items() <= next(
        f for f in found if f["what"] == "database" and f["store"] == "omade"
    ).items()
    answer = CliRunner().invoke(cli, ["doctor"])
    assert answer.exit_code == 1
    assert "Set database.url" in answer.stdout
    assert " bad, " in answer.stdout.splitlines()[-1]


async def test_a_replica_that_follows_nobody_is_bad(setup: Setup) -> None:
    found = await setup.look(database__replica_urls=setup.values["TRADEPOST_DATABASE__URL"])
    assert found["replica 1"].state == "bad"
    found = await setup.look(database__replica_urls="postgresql://tradepost_app@127.0.0.1:1/market")
    assert found["replica 1"].state == "bad"
