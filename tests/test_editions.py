"""The store's words, rules and colours: tried by one, put in force for all, taken up elsewhere, undone; and what nobody could read."""

import re

import pytest
from sqlalchemy import text

from tests.conftest import MARKET
from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.accounts.types import Caller, NotAllowed
from tradepost.core.editions import NoSuchEdition, SettingsChangedMeanwhile
from tradepost.core.errors import FieldErrors
from tradepost.flows.editions import (
    RULES,
    WORDS,
    bring_back,
    get_look,
    look_again,
    publish_changes,
    read_changes,
    settings_with,
    try_changes,
)
from tradepost.flows.look import COLOURS, contrast, faint_pairs, style_of, theme_colours
from tradepost.flows.preset import PRESETS, load_preset
from tradepost.flows.store import Store
from tradepost.flows.typefaces import typefaces


async def form_of(shop: Shop, admin: Caller) -> dict[str, str]:
    """Return the editor's form as a browser would send it untouched."""
    look = await get_look(shop.store, admin)
    given = {path: str(value) for path, value in look.values.items() if value is not False}
    colours = {
        f"{name}.{scheme}": look.colours[name][n] for name, _ in COLOURS for n, scheme in enumerate(("light", "dark"))
    }
    return {**given, **colours, "corners": look.corners}


async def test_an_untouched_form_changes_nothing(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    assert read_changes(shop.store, await form_of(shop, admin)) == {"settings": {}, "theme": {}}


async def test_an_edition_is_in_force_at_once_and_elsewhere_without_restart(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    elsewhere = Store(**vars(shop.store))
    form = await form_of(shop, admin) | {
        "store.tagline": "Now with  cheese",
        "features.reviews": "",
        "payments.payout_minimum": "12,50",
    }
    assert await publish_changes(shop.store, admin, form, 0, "For spring") == 1
    assert shop.store.settings.store.tagline == "Now with cheese"
    assert elsewhere.settings.store.tagline != "Now with cheese"
    await look_again(elsewhere)
    settings = elsewhere.settings
    assert (settings.store.tagline, settings.features.reviews, str(settings.payments.payout_minimum)) == (
        "Now with cheese",
        False,
        "12.5",
    )
    assert "Now with cheese" in text_of((await (await browser_of(shop, shop.buyer)).get("/")).text)
    row = await shop.row("SELECT changes, note, by_id FROM store_editions")
    assert set(row[0]["settings"]) == {"store.tagline", "features.reviews", "payments.payout_minimum"}
    assert (row[1], row[2]) == ("For spring", admin.user_id)
    assert await shop.count("audit_log", "table_name = 'store_editions' AND action = 'insert'") == 1
    with pytest.raises(SettingsChangedMeanwhile):
        await publish_changes(shop.store, admin, form, 0)


async def test_a_process_looks_no_more_often_than_it_should(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    elsewhere = Store(**vars(shop.store))
    await look_again(elsewhere)
    await publish_changes(shop.store, admin, await form_of(shop, admin) | {"store.tagline": "New"}, 0)
    await look_again(elsewhere)
    assert elsewhere.edition == 0
    elsewhere.looked_at -= 10
    await look_again(elsewhere)
    assert elsewhere.edition == 1


async def test_what_was_can_be_brought_back(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    was = shop.store.settings
    for number, tagline in enumerate(("One", "Two")):
        await publish_changes(shop.store, admin, await form_of(shop, admin) | {"store.tagline": tagline}, number)
    await bring_back(shop.store, admin, 1)
    assert shop.store.settings.store.tagline == "One"
    look = await get_look(shop.store, admin)
    assert [(s.edition.number, s.edition.brings_back) for s in look.history] == [(3, 1), (2, None), (1, None)]
    assert look.history[0].differences == (("In one line", "Two", "One"),)
    await bring_back(shop.store, admin, 0)
    assert shop.store.settings == was
    with pytest.raises(NoSuchEdition):
        await bring_back(shop.store, admin, 99)


async def test_a_draft_is_seen_by_its_author_alone(shop: Shop) -> None:
    admin, other = await shop.make.person("admin"), await shop.make.person("admin")
    author = await browser_of(shop, admin)
    form = await form_of(shop, admin) | {
        "copy.hero_title": "A daring front page",
        "bg.light": "#fff0f5",
        "action": "try",
    }
    tried = await author.post("/office/settings", form, follow=False)
    assert (tried.status_code, tried.headers["location"]) == (303, "/")
    page = await author.get("/")
    assert "Nobody else sees it" in text_of(page.text)
    assert "A daring front page" in page.text
    assert "#fff0f5" in (await author.get("/theme/edition.css?n=-1")).text
    for stranger in (await browser_of(shop, other), await browser_of(shop, shop.buyer)):
        stranger.client.cookies.set("preview", "1")
        assert "A daring front page" not in (await stranger.get("/")).text
        assert (await stranger.get("/theme/edition.css?n=-1")).text == ""
    assert await shop.count("store_editions", "true") == 0
    await author.post("/office/settings/draft", {"action": "publish"})
    page = await (await browser_of(shop, shop.buyer)).get("/")
    assert "A daring front page" in page.text
    assert "/theme/edition.css?n=1" in page.text
    style = await author.get("/theme/edition.css?n=1")
    assert "--bg: light-dark(#fff0f5" in style.text
    assert "immutable" in style.headers["cache-control"]


async def test_colours_that_nobody_could_read_are_refused(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    form = await form_of(shop, admin)
    with pytest.raises(FieldErrors) as refused:
        await publish_changes(shop.store, admin, form | {"ink.light": "#dddddd"}, 0)
    assert set(refused.value.errors) == {"ink.light"}
    assert "Nobody could read it" in refused.value.errors["ink.light"]
    await publish_changes(shop.store, admin, form | {"muted.light": "#8a8a8a"}, 0)  # hard to read, and said to be
    assert any(f.text == "muted" and 3 <= f.ratio < 4.5 for f in (await get_look(shop.store, admin)).faint)
    staff = await browser_of(shop, admin)
    assert "Quiet text on" in text_of((await staff.get("/office/settings")).text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"store.name": " "}, {"store.tagline": "x" * 121}, {"store.support_email": "nowhere"}, {"security.second_step": "never"},
        {"security.listings_unconfirmed": "-1"}, {"payments.payout_minimum": "a lot"}, {"payments.payout_minimum": "1e3"},
        {"bg.light": "red; } body { display: none"}, {"store.name": "A\x00B"}, {"payments.payout_schedule": ""},
    ],
)  # fmt: skip
async def test_what_a_setting_cannot_be_changes_nothing(shop: Shop, wrong: dict[str, str]) -> None:
    admin = await shop.make.person("admin")
    form = await form_of(shop, admin)
    with pytest.raises(FieldErrors):
        await publish_changes(shop.store, admin, form | wrong, 0)
    assert await shop.count("store_editions", "true") == 0


async def test_only_who_runs_the_store_changes_it(shop: Shop) -> None:
    staff = await shop.make.person("staff")
    for person in (staff, shop.buyer):
        with pytest.raises(NotAllowed):
            await try_changes(shop.store, person, {})
        assert (await (await browser_of(shop, person)).get("/office/settings")).status_code in {403, 404}


async def test_an_edition_that_cannot_be_read_any_more_stops_nobody(shop: Shop) -> None:
    await shop.run(
        text("""INSERT INTO store_editions (number, changes) VALUES (7, '{"settings": {"copy.gone": "x"}}')""")
    )
    was = shop.store.settings
    await look_again(shop.store)
    assert (shop.store.settings, shop.store.edition) == (was, 7)


def test_every_preset_has_settings_and_colours_that_the_editor_knows() -> None:
    for folder in (path.parent for path in PRESETS.glob("*/store.toml")):
        settings = load_preset(folder)
        assert settings_with(settings, {}) == settings
        assert {name for name, _ in COLOURS} == theme_colours(folder).keys()
        assert [f.sentence for f in faint_pairs(theme_colours(folder))] == [], folder.name
    assert (
        theme_colours(MARKET)["header-bg"] == theme_colours(MARKET)["surface"]
    )  # what a theme leaves out is the product's own
    assert len({s.path for s in (*WORDS, *RULES)}) == len(WORDS) + len(RULES)


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ff0000", "#ff0000") == 1
    assert style_of({}) == ""
    assert style_of({"bg": ["#fff0f5", "url(x)"]}) == ""


async def test_a_store_wears_the_type_of_another(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    form = await form_of(shop, admin)
    assert "@font-face" not in style_of(read_changes(shop.store, form | {"body": "Wingdings"})["theme"])
    await publish_changes(shop.store, admin, form | {"head": "Fraunces"}, 0)
    assert '--font-head: "Fraunces", Georgia, serif;' in shop.store.style
    assert "--font-body" not in shop.store.style
    assert ("Headings", "Fraunces") in [
        (label, after) for label, _, after in (await get_look(shop.store, admin)).history[0].differences
    ]
    assert (await get_look(shop.store, admin)).faces["head"] == "Fraunces"
    fetched = re.findall(r'url\("(/theme/faces/[^"]+)"\)', shop.store.style)
    browser = await browser_of(shop, admin)
    assert [(await browser.get(path)).headers["content-type"] for path in fetched] == ["font/woff2"] * 4
    for path in ("/theme/faces/omade/theme.css", "/theme/faces/none/x.woff2", "/theme/faces/omade/..%2Ftheme.css"):
        assert (await browser.get(path)).status_code == 404
    assert set(typefaces()) >= {
        "Fraunces",
        "Inter",
        "Space Grotesk",
        "Bricolage Grotesque",
        "IBM Plex Sans",
        "Nunito Sans",
    }
