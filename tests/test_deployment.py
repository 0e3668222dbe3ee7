"""What is shipped for servers: compose.yaml, images, units, the set-up script and the proxies' files, as far as no engine is needed."""

import configparser
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import typer.main
import yaml

from tests.conftest import Servers
from tradepost.cli import cli
from tradepost.cli.backup_work import measure
from tradepost.core.archiving.client import run_client
from tradepost.core.settings import load_settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
IMAGE = re.compile(r"[a-z0-9./-]+:\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?")
GIVEN = {
    "TRADEPOST_DOMAIN": "shop.example", "POSTGRES_PASSWORD": "secret1", "TRADEPOST_APP_PASSWORD": "secret2",
    "TRADEPOST_SECRET_KEY": "a2V5" * 10 + "a2U=",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Read compose.yaml with its variables filled in, as Docker would; one without a value is an error."""

    def fill(match: re.Match[str]) -> str:
        name, mark, rest = match.groups()
        if name in GIVEN:
            return GIVEN[name]
        assert mark == ":-", f"{name} has neither a value nor a default"
        return rest

    text = re.sub(r"\$\{(\w+)(:[-?])?([^}]*)\}", fill, (ROOT / "compose.yaml").read_text("utf-8"))
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def test_every_image_is_of_one_version(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]
    for file in (ROOT / "Dockerfile", DEPLOY / "postgres" / "Dockerfile"):
        images += re.findall(r"^FROM (\S+)", file.read_text("utf-8"), re.MULTILINE)
    assert [image for image in images if not IMAGE.fullmatch(image)] == []
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert compose["services"]["serve"]["image"] == f"tradepost:{version}"


def test_services_name_services_volumes_and_conditions_that_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, asked in service.get("depends_on", {}).items():
            assert other in services, name
            checked = not services[other].get("healthcheck", {}).get("disable") and (
                "healthcheck" in services[other] or services[other].get("build") == "."
            )
            assert checked or asked["condition"] != "service_healthy", f"{name} waits for {other}, which nobody checks"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (ROOT / source).exists(), volume
        if isinstance(service.get("build"), str):
            assert (ROOT / service["build"] / "Dockerfile").exists()


def test_only_the_proxy_is_reached_from_outside(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["caddy"]


def test_containers_are_given_settings_that_exist_and_commands_too(compose: dict[str, Any]) -> None:
    commands = typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    for name in ("migrate", "serve", "worker", "backup"):
        service = compose["services"][name]
        settings = load_settings(None, service["environment"])
        assert settings.database.url.endswith("/{database}")
        assert bool(settings.database.owner_url) is (name in {"migrate", "backup"})
        assert settings.http.scheme == "https"
        assert (service["command"][0] if name != "backup" else "backup") in commands


def test_what_images_copy_is_there_and_is_sent() -> None:
    sent = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    ]
    for line in re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists()
            assert name in sent
    assert (DEPLOY / "postgres" / "roles.sh").exists()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_run_commands_that_exist_and_are_hardened(path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(path.read_text("utf-8"))
    if path.suffix == ".timer":
        assert unit["Timer"]["OnCalendar"]
        assert path.with_suffix(".service").exists()
        return
    service = unit["Service"]
    program, command, *_ = service["ExecStart"].split()
    assert program == "/opt/tradepost/.venv/bin/tradepost"
    assert command in typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    assert service["User"] in {"tradepost", "postgres"}
    assert {key: service[key] for key in ("NoNewPrivileges", "ProtectSystem", "ProtectHome")} == {
        "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes"
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path in UNITS:
        text = path.read_text("utf-8").replace("/opt/tradepost/.venv/bin/tradepost", "/bin/true")
        (tmp_path / path.name.replace("@.", "@omade.")).write_text(text, "utf-8")
    run = subprocess.run(  # noqa: S603  # our own files
        [shutil.which("systemd-analyze") or "", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    ours = [line for line in run.stderr.splitlines() if "tradepost" in line]
    assert ours == []


def test_pgbackrest_archives_the_server_that_the_script_sets_up() -> None:
    read = configparser.ConfigParser()
    read.read(DEPLOY / "pgbackrest.conf", "utf-8")
    assert read["tradepost"]["pg1-path"] == "/var/lib/postgresql/17/main"
    assert read["global"]["repo1-cipher-type"] == "aes-256-cbc"
    assert "repo1-cipher-pass" not in read["global"]
    guide = (ROOT / "docs" / "how-to" / "come-back-to-a-second.md").read_text("utf-8")
    assert set(re.findall(r"--stanza=(\w+)", guide)) == {"tradepost"}


@pytest.mark.parametrize(
    "path", [DEPLOY / "debian-13.sh", DEPLOY / "postgres" / "roles.sh"], ids=lambda path: path.name
)
def test_scripts_are_of_sound_syntax_and_can_be_run(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["/bin/sh", "-n", path], check=False).returncode == 0  # noqa: S603  # our own script


def test_the_setup_refuses_another_system_and_says_how_to_use_it() -> None:
    run = subprocess.run([DEPLOY / "debian-13.sh", "--what"], capture_output=True, text=True, check=False)  # noqa: S603  # our own
    assert run.returncode == 2
    assert "Usage:" in run.stderr


@pytest.mark.parametrize(
    ("targets", "mirror"),
    [
        (
            [
                "http://near.example/debian-security/ Debian Debian-Security",
                "http://near.example/debian/ Debian Debian",
            ],
            "http://near.example/debian",
        ),
        (["http://near.example/ubuntu/ Ubuntu Ubuntu"], "http://deb.debian.org/debian"),
    ],
)
def test_a_system_in_a_folder_comes_from_the_mirror_of_this_machine(
    tmp_path: Path, targets: list[str], mirror: str
) -> None:
    programs = {"apt-get": "".join(f"echo '{target}'\n" for target in targets), "debootstrap": 'echo "$@"; exit 7\n'}
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}")
        (tmp_path / name).chmod(0o755)
    run = subprocess.run(  # noqa: S603  # our own script
        [DEPLOY / "debian-13.sh", "--in", tmp_path / "system"],
        capture_output=True, text=True, check=False, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert run.returncode == 7
    assert run.stderr == f"--variant=minbase trixie {tmp_path}/system {mirror}\n"


def test_the_settings_file_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(DEPLOY / "tradepost.toml", {})
    assert settings.stores == ("omade",)
    assert settings.http.trusted_proxies == ("127.0.0.1", "::1")


def test_proxies_pass_on_what_the_server_reads() -> None:
    nginx = (DEPLOY / "nginx.conf").read_text("utf-8")
    assert nginx.count("{") == nginx.count("}")
    for header in ("Host $host", "X-Forwarded-For $proxy_add_x_forwarded_for", "Upgrade $http_upgrade"):
        assert f"proxy_set_header {header};" in nginx
    caddy = (DEPLOY / "Caddyfile").read_text("utf-8")
    assert caddy.count("{") == caddy.count("}")


async def test_the_role_for_backups_reads_everything_and_changes_nothing(
    servers: Servers, store_dsn: str, tmp_path: Path
) -> None:
    name = store_dsn.rsplit("/", 1)[-1].partition("?")[0]
    script = (DEPLOY / "debian-13.sh").read_text("utf-8")
    owner = await asyncpg.connect(servers.dsn(name, "postgres"))
    await owner.execute("DROP ROLE IF EXISTS tradepost_backup; CREATE ROLE tradepost_backup LOGIN")
    for statement in re.findall(r"^(?:GRANT|ALTER ROLE) .*tradepost_backup.*;$", script, re.MULTILINE):
        await owner.execute(statement)
    reader = await asyncpg.connect(servers.dsn(name, "tradepost_backup"))
    try:
        assert await measure(reader) == await measure(owner)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute("DELETE FROM carts")
        dump = tmp_path / "dump"
        await run_client("pg_dump", servers.dsn(name, "tradepost_backup"), "--format=custom", f"--file={dump}")
        assert dump.stat().st_size > 10_000
    finally:
        await reader.close()
        await owner.execute("DROP ROLE tradepost_backup")
        await owner.close()
