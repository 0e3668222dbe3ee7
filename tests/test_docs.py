"""The documentation: complete where it lists things, right where it names them, and runnable where it says so."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from alembic.script import ScriptDirectory

from tradepost.cli import cli
from tradepost.core.errors import DomainError
from tradepost.core.settings import Settings, parse
from tradepost.flows.preset import Process, StoreSettings
from tradepost.migrations import configuration
from tradepost.migrations.schema import metadata
from tradepost.orders.processes import EFFECTS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


@cache
def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text("utf-8")


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of every row of every table."""
    for line in text.splitlines():
        if line.startswith("|") and not set(line) <= set("|-: "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", cell, flags=re.MULTILINE | re.DOTALL))


# The tables and columns that the documents name, to be found again under the heading of their table.
DOCUMENTED = {
    "TESE": {
        "User": "id username email password first_name last_name is_active is_staff is_superuser date_joined last_login location "
        "bio business_name service_type phone_number",
        "Listing": "id listing_type user name location price unit description status category organic provider supplier "
        "created_at updated_at images cart_items",
        "ListingImage": "id content_type object_id content_object image_url uploaded_at",
        "Category": "id name description parent slug",
        "Location": "id region district",
        "CartItem": "id user listing quantity price created_at subtotal",
        "Order": "id user total_amount status created_at payment_method shipping_info items transaction_ref",
        "Payment": "id order amount method status transaction_ref created_at",
        "SearchIndexEntry": "id content_type object_id content_object title description metadata embedding created_at updated_at",
        "Conversation and Message": "Conversation.id Conversation.participants Conversation.created_at Conversation.updated_at "
        "Message.id Message.conversation Message.sender Message.content Message.timestamp Message.is_read",
    },
    "Souk Loop": {
        "users": "id email username phone role location stripe_customer_id stripe_connect_account_id ix_users_email "
        "ix_users_username ix_users_phone idx_users_location",
        "products": "seller_id feed_type category condition location images ix_products_seller_id ix_products_category_feed "
        "ix_products_is_available idx_products_location",
        "streams": "ix_streams_user_id ix_streams_status ix_streams_category",
        "conversations": "ix_conversations_buyer_seller ix_conversations_product",
        "messages": "ix_messages_conversation ix_messages_sender",
        "offers": "ix_offers_product ix_offers_conversation ix_offers_status",
        "transactions": "buyer_id seller_id product_id payment_intent_id charge_id subtotal status ix_transactions_buyer "
        "ix_transactions_seller ix_transactions_product ix_transactions_status",
        "verifications": "ix_verifications_user_id ix_verifications_status",
    },
    "Shop assistant": {
        "products": "id name description price category_id brand sku stock_quantity image_url specifications is_active "
        "created_at updated_at",
        "categories": "id name description parent_id slug is_active created_at updated_at",
        "users": "id username email password_hash first_name last_name phone is_active created_at updated_at",
        "orders": "id user_id order_number status total_amount tax_amount shipping_address billing_address payment_method "
        "payment_status created_at updated_at",
        "order_items": "id order_id product_id quantity unit_price total_price created_at",
        "sessions": "id session_id user_id data expires_at created_at updated_at",
        "cart_items": "id session_id product_id quantity created_at updated_at",
        "analytics": "id event_type user_id session_id data created_at",
        "search_logs": "id query user_id session_id results_count search_type response_time_ms created_at",
        "migrations": "id version applied_at",
        "Indexes": "idx_products_category_id idx_products_brand idx_products_sku idx_products_is_active idx_orders_user_id "
        "idx_orders_status idx_orders_created_at idx_order_items_order_id idx_order_items_product_id idx_sessions_session_id "
        "idx_sessions_user_id idx_sessions_expires_at idx_cart_items_session_id idx_cart_items_product_id "
        "idx_analytics_event_type idx_analytics_user_id idx_analytics_created_at idx_search_logs_user_id "
        "idx_search_logs_created_at idx_search_logs_search_type idx_products_search idx_orders_user_status "
        "idx_analytics_event_user idx_products_fts idx_categories_fts",
    },
    "Marketplace watch": {
        "users": "id username email password_hash role first_name last_name created_at updated_at last_login is_active "
        "idx_users_email idx_users_username",
        "user_auth": "id user_id token token_type expires_at created_at device_info ip_address idx_user_auth_token "
        "idx_user_auth_user_id",
        "listings": "id external_id title description price currency location category subcategory seller_name seller_id "
        "listing_url listed_date scraped_date source is_sold is_deleted metadata created_at updated_at idx_listings_external_id "
        "idx_listings_category idx_listings_price idx_listings_location idx_listings_scraped_date idx_listings_source",
        "listing_attributes": "id listing_id key value created_at idx_listing_attributes_listing_id idx_listing_attributes_key",
        "images": "id listing_id url position width height size format created_at idx_images_listing_id",
        "alerts": "id name user_id criteria query created_at updated_at last_checked is_active notification_settings "
        "idx_alerts_user_id",
        "alert_matches": "id alert_id listing_id user_id matched_at notified_at is_read is_saved",
        "notifications": "id user_id type title content data created_at sent_at read_at status",
    },
    "Omade": {
        "users": "id name email password_hash role phone avatar_url social_provider created_at updated_at idx_users_email "
        "idx_users_role",
        "products": "id name description price category stock image_url is_customizable created_at updated_at "
        "idx_products_category idx_products_price idx_products_stock idx_products_search idx_products_fts",
        "orders": "id user_id total_amount status payment_status payment_reference delivery_schedule_id created_at updated_at "
        "idx_orders_user_id idx_orders_status idx_orders_payment_status idx_orders_created_at idx_orders_user_status",
        "order_items": "id order_id product_id quantity unit_price subtotal idx_order_items_order_id idx_order_items_product_id",
        "reviews": "id user_id product_id rating comment created_at idx_reviews_product_id idx_reviews_user_id "
        "idx_reviews_rating idx_reviews_created_at idx_reviews_product_rating",
        "loyalty_points": "id user_id points updated_at idx_loyalty_points_user_id",
        "promo_codes": "id code discount_type amount valid_from valid_to usage_limit used_count idx_promo_codes_code "
        "idx_promo_codes_valid_dates idx_promo_codes_active",
        "delivery_schedules": "id delivery_date delivery_time rider_id status idx_delivery_schedules_date "
        "idx_delivery_schedules_rider_id idx_delivery_schedules_status",
        "custom_cake_configurations": "id order_id flavor size frosting message image_reference extra_details "
        "idx_custom_cake_order_id",
        "Triggers, functions and views": "update_updated_at_column calculate_order_total update_order_total product_stats "
        "user_order_summary daily_sales",
        "Redis": "cart:{user_id} session:{session_id} product:{product_id} rate_limit:{ip_address}:{endpoint}",
    },
}


def sections(text: str, mark: str) -> dict[str, str]:
    """Return what stands under each heading of a level."""
    _, *parts = re.split(rf"^{mark} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("document", DOCUMENTED)
def test_every_table_and_column_of_a_document_is_mapped(document: str) -> None:
    tables = sections(sections(page("documented-systems"), "##")[document], "###")
    for table, names in DOCUMENTED[document].items():
        assert table in tables, f"{document} has no heading for {table}"
        missing = sorted(set(names.split()) - set(code(tables[table])))
        assert missing == [], f"{document}, {table}"


def test_what_the_mapping_names_of_ours_exists() -> None:
    columns = {f"{table.name}.{column.name}" for table in metadata.tables.values() for column in table.columns}
    constraints = {str(c.name) for table in metadata.tables.values() for c in table.constraints}
    indexes = {str(index.name) for table in metadata.tables.values() for index in table.indexes}
    not_ours = {name for tables in DOCUMENTED.values() for names in tables.values() for name in names.split()}
    settings = {f"{section}.{key}" for section, key, _ in every_setting()}
    wrong = []
    for name in set(code(page("documented-systems"))) - not_ours:
        if re.fullmatch(r"[a-z_]+\.[a-z_]+", name) and not name.endswith((".py", ".md", ".sql")):
            wrong += [name] if name not in columns | settings else []
        elif re.match(r"(ix|uq|ck|fk|pk)_", name):
            wrong += [name] if name not in constraints | indexes else []
    assert sorted(wrong) == []


def test_every_table_of_ours_that_holds_what_a_document_names_is_mapped() -> None:
    """The others are of the engine: reference values, the books, search's own statistics, the sandbox."""
    own = {
        "conditions", "feeds", "units", "listing_kinds", "files", "permissions", "roles", "processes", "order_transitions",
        "reservations", "stock_movements", "idempotency_keys", "store_facts", "addresses", "tax_rates", "shipping_options",
        "returns", "commission_rules", "ledger_accounts", "ledger_journals", "ledger_entries", "sandbox_charges",
        "sandbox_refunds", "sandbox_payouts", "sandbox_reversals", "payout_accounts",
        "payout_runs", "payout_reversals", "search_queue", "search_terms", "search_vocabulary",
        "search_state", "search_synonyms",
        "search_changes", "search_changed", "audit_log", "encryption_keys", "impersonations", "data_exports", "decisions",
        "appeals", "blocks", "verification_documents", "delivery_terms", "delivery_windows", "delivery_days_off", "delivery_zones",
        "delivery_stops", "delivery_attempts", "ingredients", "recipe_lines", "ingredient_movements", "move_in_steps", "move_in_notes",
        "sales_days", "sales_listings", "sales_listing_months", "sales_changed",
        "totp_secrets", "recovery_codes", "passkeys", "mails",
        "former_categories", "store_editions", "store_drafts",
        "alert_index", "alert_queue", "alert_wide_terms", "notices",
        "deliveries", "notice_preferences", "notice_times", "push_subscriptions", "notice_hooks", "push_keys", "dispute_evidence", "listing_imports", "listing_import_rows",
        "outside_items", "source_states", "ingest_runs", "ingest_errors", "ingest_seen", "source_hosts", "engine_samples", "maintenance_runs",
    }  # fmt: skip
    said = {name.partition(".")[0] for name in code(page("documented-systems"))}
    assert sorted(metadata.tables.keys() - own - said) == []


def every_setting() -> Iterator[tuple[str, str, Any]]:
    """Yield section, key and default of every setting; top-level ones have no section."""
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from ((field.name, inner.name, inner.default) for inner in msgspec.structs.fields(field.type))
        else:
            yield "", field.name, () if field.default is msgspec.NODEFAULT else field.default


def written(default: Any) -> str:
    if default == Settings().stores:
        return "all five"
    if isinstance(default, bool):
        return "`true`" if default else "`false`"
    if isinstance(default, tuple) and default:
        return ", ".join(f"`{one}`" for one in default)
    return {"": "empty", (): "none"}.get(default, f"`{default}`")


def test_every_setting_is_described_with_its_variable_and_default() -> None:
    parts = sections(page("settings"), "##")
    for section, key, default in every_setting():
        variable = "TRADEPOST_" + (f"{section}__" if section else "").upper() + key.upper()
        found = [row for row in rows(parts[section or "Top level"]) if row[0] == f"`{key}`"]
        assert len(found) == 1, f"{section}.{key}"
        assert found[0][1:3] == [f"`{variable}`", written(default)]
        assert found[0][3]


def test_no_setting_is_described_that_does_not_exist() -> None:
    known = {(section or "Top level", key) for section, key, _ in every_setting()}
    parts = sections(page("settings"), "##")
    described = {
        (section, code(row[0])[0])
        for section, text in parts.items()
        if section not in {"Variables that are no settings", "Example"}
        for row in rows(text)
        if code(row[0])
    }
    assert described == known


def structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Yield a Struct and those within it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from structs(field.type)
    for part in getattr(kind, "__args__", ()):
        yield from structs(part)


@pytest.mark.parametrize("shape", [StoreSettings, Process])
def test_every_key_of_a_preset_is_described(shape: type[msgspec.Struct]) -> None:
    said = set(code(page("presets")))
    keys = {f"{s.__name__}: {f.encode_name}" for s in structs(shape) for f in msgspec.structs.fields(s)}
    assert sorted(key for key in keys if key.partition(": ")[2] not in said) == []


def test_every_effect_of_a_process_is_described() -> None:
    described = {name for row in rows(page("presets")) for name in code(row[0])}
    assert sorted(set(EFFECTS) - described) == []


def test_every_permission_is_described() -> None:
    permissions = ScriptDirectory.from_config(configuration()).get_revision("0001").module.PERMISSIONS
    described = {
        code(row[0])[0]
        for row in rows(sections(page("permissions"), "##")["What each permission allows"])
        if code(row[0])
    }
    assert described == set(permissions)


def test_the_generated_parts_are_up_to_date() -> None:
    """Errors, events, commands and roles: `make reference` writes them."""
    run = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, ROOT / "tools" / "write_reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def commands(group: Any, name: str) -> Iterator[str]:
    for child, command in getattr(group, "commands", {}).items():
        yield f"{name} {child}" if not hasattr(command, "commands") else ""
        yield from commands(command, f"{name} {child}")


def test_every_command_is_described() -> None:
    described = {heading.strip("`") for heading in sections(page("commands"), "###")}
    assert {name for name in commands(typer.main.get_command(cli), "tradepost") if name} == described


def test_every_recipe_is_described() -> None:
    recipes = re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert sorted({f"make {recipe}" for recipe in recipes if recipe != "help"} - set(code(page("commands")))) == []


def declared(kind: type) -> set[type]:
    for path in (ROOT / "src" / "tradepost").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if ".migrations" not in name and not name.endswith("__main__"):
            importlib.import_module(name)
    found, left = set(), [kind]
    while left:
        for child in left.pop().__subclasses__():
            if child.__module__.startswith("tradepost.") and child not in found:
                found.add(child)
                left.append(child)
    return found


def test_every_error_is_described() -> None:
    described = {code(row[0])[0] for row in rows(page("errors")) if code(row[0])}
    assert sorted({error.__name__ for error in declared(DomainError)} - described) == []


def test_an_errors_sentence_is_whole_on_its_first_line() -> None:
    """The rest of a docstring is for engineers; a sentence that runs on would reach people cut short."""
    cut = [
        f"{error.__name__}: {line}"
        for error in declared(DomainError)
        for line in [(error.__doc__ or "").strip().splitlines()[0]]
        if not line.endswith((".", "?", "!", "}")) and ": " not in line
    ]
    assert cut == []


def test_every_event_is_described() -> None:
    described = {code(row[0])[0] for row in rows(page("events")) if code(row[0])}
    events = {
        name
        for path in (ROOT / "src" / "tradepost").glob("*/events.py")
        if path.parent.name != "core"
        for name in re.findall(r"^class (\w+)\(", path.read_text("utf-8"), re.MULTILINE)
    }
    assert events == described


def test_the_glossary_has_one_entry_a_word_in_order() -> None:
    words = [row[0].strip("*").lower() for row in rows(page("glossary"))][1:]
    assert words == sorted(set(words))
    for word in (
        "store",
        "listing",
        "variant",
        "fulfilment",
        "reservation",
        "process",
        "ledger entry",
        "payout",
        "slot",
        "event",
    ):
        assert word in words


def anchors(text: str) -> set[str]:
    """Return the anchors that headings get on the usual sites."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(words.strip().replace(" ", "-"))
    return found


def links(text: str) -> Iterator[str]:
    bare = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", bare)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    broken = []
    for link in links(text):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = path if not target else (path.parent / target).resolve()
        if not there.exists() or (anchor and anchor not in anchors(there.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


def test_every_page_is_reached_from_the_index() -> None:
    """By a link, or by one from the index of its folder."""
    lost = [
        page
        for page in DOCS.rglob("*.md")
        if page.name != "README.md"
        and page not in linked_from(DOCS / "README.md") | linked_from(page.parent / "README.md")
    ]
    assert lost == []


def linked_from(index: Path) -> set[Path]:
    if not index.exists():
        return set()
    found = links(index.read_text("utf-8"))
    return {(index.parent / link.partition("#")[0]).resolve() for link in found if ":" not in link}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pictures_are_there_and_small(path: Path) -> None:
    for link in re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", path.read_text("utf-8")):
        picture = (path.parent / link).resolve()
        assert picture.suffix in {".webp", ".svg"}  # photographs and screens, drawings
        assert picture.stat().st_size < 250_000


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield the code blocks of a language with the page they stand on."""
    for path in PAGES:
        text = path.read_text("utf-8")
        for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            yield path.relative_to(ROOT).as_posix(), block


@pytest.mark.parametrize(("path", "block"), list(blocks("python runnable")))
def test_python_that_is_marked_as_runnable_runs(path: str, block: str) -> None:
    run = subprocess.run(  # noqa: S603  # our own documentation
        [sys.executable, "-W", "error", "-c", block], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    assert run.returncode == 0, f"{path}: {run.stderr}"


def test_there_is_python_that_runs() -> None:
    assert len(list(blocks("python runnable"))) >= 2


def test_settings_in_examples_are_settings() -> None:
    found = [(path, block) for path, block in blocks("toml") if path == "docs/reference/settings.md"]
    assert found
    for path, block in found:
        assert parse(block, path, Settings) != Settings()
