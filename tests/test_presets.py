"""The five presets: nothing the checker objects to, everything the documents ask of each, and the database takes them."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from tests.conftest import Servers
from tradepost.core.database import SYSTEM, Database
from tradepost.core.settings import Settings
from tradepost.flows.install_store import install_store
from tradepost.flows.preset import PRESETS, NoSuchStore, StoreSettings, find_presets, load_preset, load_processes
from tradepost.migrations import configuration
from tradepost.orders.processes import courses
from tradepost.orders.soundness import problems

STORES = Settings().stores
CHECKER = Path(__file__).parents[1] / "tools" / "check_preset.py"


@pytest.fixture(scope="module")
def findings() -> dict[str, list[str]]:
    """Run the checker over all presets, once, and return what it says about each."""
    run = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, CHECKER, *STORES], capture_output=True, text=True, check=False, timeout=120
    )
    said: dict[str, list[str]] = {store: [] for store in STORES}
    for line in run.stdout.splitlines():
        store, _, rest = line.partition(": ")
        said[store].append(rest)
    assert run.returncode == 0, run.stdout + run.stderr
    return said


@pytest.fixture(params=STORES)
def preset(request: pytest.FixtureRequest) -> StoreSettings:
    return load_preset(PRESETS / request.param)


def test_there_are_the_five_presets_and_no_other() -> None:
    assert sorted(path.parent.name for path in PRESETS.glob("*/store.toml")) == sorted(STORES)


def test_presets_are_data_only() -> None:
    kinds = {path.suffix for path in PRESETS.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert kinds <= {
        ".toml",
        ".css",
        ".svg",
        ".webp",
        ".woff2",
        ".txt",
        ".jsonl",
        ".csv",
        ".md",
        ".m3u8",
        ".ts",
        ".sql",
        ".json",
        ".html",
    }


@pytest.mark.parametrize("store", STORES)
def test_the_checker_finds_no_problem(findings: dict[str, list[str]], store: str) -> None:
    assert findings[store][-1].startswith("0 problems")


def test_a_store_is_named_as_its_folder(preset: StoreSettings) -> None:
    assert load_preset(PRESETS / preset.store.code) == preset
    assert preset.store.currency in preset.store.currencies


@pytest.mark.parametrize("store", STORES)
async def test_the_database_takes_it_twice_and_its_processes_are_sound(
    servers: Servers, migrated: str, store: str
) -> None:
    name = await servers.clone(migrated)
    owner = await Database.open(servers.dsn(name, "postgres"), size=2)
    try:
        for _ in range(2):
            settings = await install_store(owner, PRESETS / store)
        async with owner.transaction(actor=SYSTEM) as tx:
            found = await courses(tx)
            counts = await tx.one(text("""
                SELECT (SELECT count(*) FROM categories) AS categories, (SELECT count(*) FROM roles) AS roles,
                       (SELECT count(*) FROM order_states) AS states, (SELECT count(*) FROM order_transitions) AS moves,
                       (SELECT count(*) FROM sources) AS sources
            """))  # fmt: skip
    finally:
        await owner.close()
        await servers.drop(name)
    read = load_processes(PRESETS / store)
    assert {course.name for course in read} == found.keys()
    assert {code: list(problems(course)) for code, course in found.items()} == {code: [] for code in found}
    assert dict(counts) == {
        "categories": len(settings.categories), "roles": len(settings.roles), "sources": len(settings.sources),
        "states": sum(len(course.states) for course in read), "moves": sum(len(course.transitions) for course in read),
    }  # fmt: skip


# Value sets of the documents. The two that list no states of an order are held to the first they name: pending.
DOCUMENTED_STATES = {
    "tese": {"PENDING", "PAID", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED", "FAILED"},
    "omade": {"pending", "confirmed", "preparing", "dispatched", "delivered", "cancelled", "refunded"},
    "souk-loop": {"pending", "completed", "failed", "refunded", "cancelled"},
}


@pytest.mark.parametrize("store", DOCUMENTED_STATES)
def test_the_states_of_an_order_are_those_of_the_document(store: str) -> None:
    for process in load_processes(PRESETS / store):
        said = {state.documented for state in process.states}
        assert said <= DOCUMENTED_STATES[store]
        if process.name == "purchase":
            assert said == DOCUMENTED_STATES[store]


@pytest.mark.parametrize("store", STORES)
def test_an_order_begins_pending(store: str) -> None:
    (purchase,) = (p for p in load_processes(PRESETS / store) if p.name == "purchase")
    assert purchase.initial == "pending"


def roles(store: str) -> dict[str, set[str]]:
    return {role.code: set(role.permissions) for role in load_preset(PRESETS / store).roles}


def test_the_roles_are_those_of_the_documents() -> None:
    assert list(roles("omade")) == ["customer", "rider", "staff", "admin"]
    assert list(roles("souk-loop")) == ["buyer", "seller", "both", "admin"]
    assert list(roles("marketplace-watch")) == ["user", "admin"]
    assert {"staff", "admin"} <= roles("tese").keys()


def test_roles_grant_known_permissions_and_one_new_people_get(preset: StoreSettings) -> None:
    known = set(ScriptDirectory.from_config(configuration()).get_revision("0001").module.PERMISSIONS)
    assert len(known) == 13
    assert {p for role in preset.roles for p in role.permissions} <= known
    (usual,) = [role for role in preset.roles if role.default]
    powers = {"staff", "manage_people", "manage_store", "manage_catalog", "refund_orders", "see_all_orders"}
    for role in preset.roles:
        if role.default or role.self_service:
            assert not powers & set(role.permissions), role.code
    assert "buy" in usual.permissions
    assert any("manage_people" in role.permissions for role in preset.roles)


def test_souk_loop_has_its_documents_categories_conditions_and_feeds() -> None:
    settings = load_preset(PRESETS / "souk-loop")
    top = [category.name for category in settings.categories if category.parent is None]
    assert sorted(top) == sorted([
        "Trading Cards", "Men's Fashion", "Sneakers", "Sports Cards", "Collectibles", "Electronics", "Home Decor", "Beauty",
        "Kids & Baby", "Furniture", "Books", "Other",
    ])  # fmt: skip
    assert {condition.code for condition in settings.conditions} == {"new", "like_new", "good", "fair"}
    assert {feed.code for feed in settings.feeds} == {"discover", "community"}


def test_tese_lists_products_services_and_what_suppliers_sell() -> None:
    assert {kind.code for kind in load_preset(PRESETS / "tese").kinds} == {"product", "service", "supplier_product"}


def test_marketplace_watch_collects_from_two_sources() -> None:
    assert len(load_preset(PRESETS / "marketplace-watch").sources) == 2


@pytest.mark.parametrize("store", STORES)
def test_there_are_sixty_listings_to_look_at(store: str) -> None:
    lines = (PRESETS / store / "sample" / "listings.jsonl").read_text("utf-8").splitlines()
    assert len(lines) >= 60


def test_a_preset_of_ones_own_is_found_and_wins(tmp_path: Path) -> None:
    for code in ("tea-house", "omade"):
        (tmp_path / code).mkdir()
        (tmp_path / code / "store.toml").write_text("", "utf-8")
    assert find_presets(["tea-house", "omade", "tese"], str(tmp_path)) == {
        "tea-house": tmp_path / "tea-house", "omade": tmp_path / "omade", "tese": PRESETS / "tese"
    }  # fmt: skip
    with pytest.raises(NoSuchStore, match=r"“tea”; there are marketplace-watch, omade, .*tea-house"):
        find_presets(["tea"], str(tmp_path))
