"""What the templates, themes and vendored files promise."""

import hashlib
import re
import runpy
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest

from tradepost.catalog.types import ListingCard
from tradepost.flows.preset import PRESETS, load_preset
from tradepost.web.rendering import STATIC, TEMPLATES, environment

PACKAGE = STATIC.parents[1]
TOOLS = PACKAGE.parents[1] / "tools"
STORES = sorted(path.name for path in PRESETS.iterdir() if (path / "store.toml").is_file())
MARKUP = "<script>alert('x')</script>\"'&"
TEXTS = ("title", "condition_name", "condition", "seller_name", "place", "source_name", "unit")


def hostile_card(**change: object) -> ListingCard:
    """A listing whose every text is an attack."""
    fields = {
        "id": UUID(int=1), "slug": "x", "kind": "product", "feed": "discover", "price_minor": 1250, "price_to_minor": 1250,
        "compare_at_minor": 1500, "currency": "USD", "in_stock": True, "seller_id": UUID(int=2), "distance_m": 1500.0,
        "image_id": None, "rating_count": 2, "rating_sum": 9, "likes": 0, "attributes": {MARKUP: True, "colour": MARKUP},
        "published_at": datetime(2026, 1, 1, tzinfo=UTC), **dict.fromkeys(TEXTS, MARKUP), **change,
    }  # fmt: skip
    return ListingCard(**fields)  # type: ignore[arg-type]  # the fields are spelled out above


def draw(card: ListingCard) -> str:
    """The card as a page shows it, in a store whose filters offer colours."""
    colour = SimpleNamespace(key="colour", filter=True, type="choice")
    store = SimpleNamespace(kinds=[SimpleNamespace(code="product", fields=[colour])])
    page = environment().from_string(
        '{% from "components/card.html" import card_grid with context %}{{ card_grid([card]) }}'
    )
    return str(page.render(card=card, store=store))


def test_what_people_wrote_is_escaped_on_cards() -> None:
    for card in (hostile_card(), hostile_card(source_name=None), hostile_card(source_name=None, seller_name=None)):
        drawn = draw(card)
        assert "<script" not in drawn
        assert "alert('x')" not in drawn
        assert "&lt;script&gt;" in drawn


def test_card_shows_price_before_and_unit() -> None:
    drawn = draw(hostile_card(unit="kg"))
    assert '<span class="price__now">$12.50</span> <span class="price__unit">/ kg</span>' in drawn
    assert '<s class="price__was"><span class="sr-only">before </span>$15.00</s>' in drawn


def test_nothing_is_sold_by_the_piece_in_words() -> None:
    assert "price__unit" not in draw(hostile_card(unit="piece"))


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_template_has_nothing_that_the_content_policy_forbids(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=\"|javascript:|hx-on", text)
    for script in re.findall(r"<script[^>]*>", text):
        assert " src=" in script or "application/ld+json" in script


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_every_posting_form_carries_the_token(path: Path) -> None:
    for form in re.findall(r'<form[^>]*method="post".*?</form>', path.read_text(), re.DOTALL):
        assert "csrf()" in form or "caller()" in form


def test_icons_that_templates_name_exist() -> None:
    sprite = set(re.findall(r'id="([a-z0-9-]+)"', (STATIC / "vendor/icons.svg").read_text()))
    used = set()
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        used |= set(re.findall(r'icon\("([a-z0-9-]+)"', text)) | set(re.findall(r"icons\.svg#([a-z0-9-]+)", text))
    assert used - sprite == set()


def test_colours_of_every_theme_can_be_read() -> None:
    assert runpy.run_path(str(TOOLS / "check_contrast.py"))["main"]() == 0


def test_vendored_files_are_the_ones_listed() -> None:
    listed = dict(re.findall(r"^- `([^`]+)` ([0-9a-f]{64})$", (STATIC / "vendor/README.md").read_text(), re.MULTILINE))
    assert len(listed) > 50
    for name, digest in listed.items():
        assert hashlib.sha256((PACKAGE / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("store", STORES)
def test_every_category_has_a_picture(store: str) -> None:
    missing = [
        c.slug
        for c in load_preset(PRESETS / store).categories
        if not (PRESETS / store / f"theme/categories/{c.slug}.webp").is_file()
    ]
    assert missing == [], "run tools/vendor_frontend.py"


@pytest.mark.parametrize("store", STORES)
def test_theme_asks_only_for_files_that_exist(store: str) -> None:
    theme = PRESETS / store / "theme"
    asked = re.findall(r'url\("/theme/([^"]+)"\)', (theme / "theme.css").read_text())
    assert asked
    assert [name for name in asked if not (theme / name).is_file()] == []
