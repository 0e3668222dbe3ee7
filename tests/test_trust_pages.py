"""The pages of trust, as a browser without scripts uses them."""

import io
import re
import zipfile
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import text

from tests.factories import Factory
from tests.people import join_as
from tests.visitor import Visitor, text_of
from tradepost.core.database import SYSTEM
from tradepost.flows import moderate, privacy
from tradepost.flows.store import Store
from tradepost.moderation.types import DecisionForm, ReportForm
from tradepost.web.security import SESSION_COOKIE


async def become(browse: Visitor, store: Store, username: str, *roles: str) -> Any:
    started = await join_as(store, username, *roles)
    browse.client.cookies.set(SESSION_COOKIE, started.token, domain="market.localhost")
    browse.token = ""
    return started.caller


async def value(store: Store, sql: str, **params: Any) -> Any:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return await tx.value(text(sql), **params)


async def test_a_listing_is_reported_hidden_appealed_and_shown_again(
    browse: Visitor, store: Store, make: Factory
) -> None:
    seller = await make.person("seller")
    listing = await make.listing(seller)
    await become(browse, store, "ann")
    assert "Red apples" in (await browse.get(f"/report/listing/{listing}")).text
    wrong = await browse.post(f"/report/listing/{listing}", {"details": "x"})
    assert wrong.status_code == 422
    said = await browse.post(f"/report/listing/{listing}", {"reason": "fraud", "details": "Not apples."})
    assert "Thank you" in said.text
    await become(browse, store, "stan", "staff")
    assert "Red apples" in (await browse.get("/office/moderation")).text
    page = await browse.get(f"/office/moderation/listing/{listing}")
    assert "Not apples." in page.text
    assert (
        await browse.post(f"/office/moderation/listing/{listing}", {"action": "hide", "reason": ""})
    ).status_code == 422
    await browse.post(f"/office/moderation/listing/{listing}", {"action": "hide", "reason": "These are pears."})
    assert await value(store, "SELECT status FROM listings") == "inactive"
    decision = await value(store, "SELECT id FROM decisions")
    undone = await browse.post(f"/office/decisions/{decision}/undo", {"reason": "They are apples."})
    assert "Undone" in text_of(undone.text)
    assert await value(store, "SELECT status FROM listings") == "active"


async def test_a_suspended_person_reads_why_and_objects(browse: Visitor, store: Store, make: Factory) -> None:
    staff = await make.person("staff")
    mallory = await become(browse, store, "mallory", "seller")
    form = DecisionForm(action="suspend", reason="Too many complaints.", days=3)
    decision = await moderate.decide_case(store, staff, "person", mallory.user_id, form)
    page = await browse.get("/me/standing")
    assert "Too many complaints." in page.text
    await browse.post(f"/me/standing/{decision}/appeal", {"text": "It was my brother."})
    await become(browse, store, "stella", "staff")
    assert "It was my brother." in (await browse.get("/office/moderation")).text
    await browse.post(f"/office/decisions/{decision}/appeal", {"grant": "1", "answer": "We believe you."})
    assert await value(store, "SELECT suspended_until FROM users WHERE username = 'mallory'") is None


async def test_people_are_found_given_roles_closed_and_opened(browse: Visitor, store: Store, make: Factory) -> None:
    await make.person("buyer", "tendai")
    await become(browse, store, "boss", "admin")
    assert "tendai" in (await browse.get("/office/people?q=tend")).text
    assert "Nobody like that" in (await browse.get("/office/people?q=zzz")).text
    here = "/office/people/tendai"
    assert (await browse.get(here)).status_code == 200
    await browse.post(f"{here}/roles", {"role": "seller"})
    assert (
        await value(
            store, "SELECT count(*) FROM user_roles r JOIN users u ON u.id = r.user_id WHERE username = 'tendai'"
        )
        == 2
    )
    await browse.post(f"{here}/roles", {"role": "seller", "take": "1"})
    await browse.post(f"{here}/account")
    assert "Closed" in (await browse.get("/office/people")).text
    await browse.post(f"{here}/account", {"open": "1"})
    assert await value(store, "SELECT is_active FROM users WHERE username = 'tendai'")


async def test_staff_see_as_a_customer_with_a_banner_and_change_nothing(
    browse: Visitor, store: Store, make: Factory
) -> None:
    tendai = await make.person("buyer", "tendai")
    await become(browse, store, "boss", "admin")
    first = await browse.post("/office/people/tendai/look", {"reason": "Cannot find the order."})
    assert "You see Market as Tendai does" in text_of(first.text).replace("  ", " ") or "Tendai" in text_of(first.text)
    assert "You can change nothing" in first.text
    refused = await browse.post("/me", {"display_name": "Hacked"})
    assert refused.status_code == 403
    assert (await browse.client.get("/api/v1/me")).json()["username"] == "tendai"
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', first.text)
    assert token is not None
    by_api = await browse.client.patch("/api/v1/me", json={"bio": "Hacked"}, headers={"x-csrf-token": token[1]})
    assert by_api.status_code == 403
    assert (await browse.get("/office/people")).status_code == 403
    assert await value(store, "SELECT display_name FROM users WHERE id = :id", id=tendai.user_id) == "Tendai"
    back = await browse.post("/office/look/end")
    assert "You are yourself again" in text_of(back.text)
    assert (await browse.client.get("/api/v1/me")).json()["username"] == "boss"


async def test_papers_go_from_a_form_to_a_reviewer(browse: Visitor, store: Store) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, "PNG")
    await become(browse, store, "tendai")
    fields = {"kind": "government_id", "name": "Tendai Moyo", "number": "42", "valid_until": ""}
    assert (await browse.post("/me/verification", fields)).status_code == 422
    sent = await browse.post("/me/verification", fields, files={"documents": ("id.png", file.getvalue(), "image/png")})
    assert "Waiting" in text_of(sent.text)
    number = await value(store, "SELECT id FROM verifications")
    await become(browse, store, "boss", "admin")
    assert "@tendai" in (await browse.get("/office/verifications")).text
    assert "Tendai Moyo" in (await browse.get(f"/office/verifications/{number}")).text
    got = await browse.get(f"/office/verifications/{number}/0")
    assert got.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in got.headers["content-security-policy"]
    assert got.content[:4] == b"\x89PNG"
    await browse.post(f"/office/verifications/{number}", {"verify": "0", "reason": "Blurred."})
    assert await value(store, "SELECT rejection_reason FROM verifications") == "Blurred."
    assert "look" in (await browse.get("/office/audit?action=look")).text


async def test_a_copy_is_asked_for_and_fetched(browse: Visitor, store: Store) -> None:
    await become(browse, store, "tendai")
    await browse.post("/me/data/export")
    number = await value(store, "SELECT id FROM data_exports")
    assert "0 of" in text_of((await browse.get("/me/data")).text)
    await privacy.make_export(store, number)
    got = await browse.get(f"/me/data/exports/{number}")
    assert "README.txt" in zipfile.ZipFile(io.BytesIO(got.content)).namelist()
    await become(browse, store, "stranger")
    assert (await browse.get(f"/me/data/exports/{number}")).status_code == 404


async def test_erasing_asks_for_the_password(browse: Visitor, store: Store) -> None:
    await become(browse, store, "tendai")
    wrong = await browse.post("/me/data/erase", {"current": "not it"})
    assert wrong.status_code == 422
    gone = await browse.post("/me/data/erase", {"current": "maize in the morning"})
    assert "Goodbye" in text_of(gone.text)
    assert await value(store, "SELECT erase_at IS NOT NULL AND NOT is_active FROM users")


async def test_blocking_from_a_persons_page(browse: Visitor, store: Store, make: Factory) -> None:
    await make.person("seller", "farm")
    await become(browse, store, "ann")
    await browse.post("/u/farm/block")
    assert "Unblock" in (await browse.get("/u/farm")).text
    refused = await browse.post("/u/farm/follow")
    assert refused.status_code in {200, 403}
    assert await value(store, "SELECT count(*) FROM follows") == 0
    await browse.post("/u/farm/block", {"unblock": "1", "next": "/me/standing"})
    assert await value(store, "SELECT count(*) FROM blocks") == 0


async def test_a_seller_answers_a_review_and_its_author_takes_it_back(
    browse: Visitor, store: Store, make: Factory
) -> None:
    seller = await become(browse, store, "farm", "seller")
    listing, ann = await make.listing(seller), await make.person("buyer", "ann")
    review = await value(
        store,
        "INSERT INTO reviews (listing_id, user_id, rating) VALUES (:l, :u, 4) RETURNING id",
        l=listing,
        u=ann.user_id,
    )
    await browse.post(f"/reviews/{review}/answer", {"text": "Thank you!", "next": "/"})
    assert await value(store, "SELECT reply FROM reviews") == "Thank you!"
    await become(browse, store, "other", "seller")
    assert (await browse.post(f"/reviews/{review}/answer", {"text": "Mine now."})).status_code == 403
    assert (await browse.post(f"/reviews/{review}/remove")).status_code == 404
    assert await value(store, "SELECT reply FROM reviews") == "Thank you!"


@pytest.mark.parametrize(
    "query", ["", "?person=boss", "?about=boss", "?table=users", "?since=2026-01-01", "?action=insert"]
)
async def test_the_audit_page_searches(browse: Visitor, store: Store, query: str) -> None:
    await become(browse, store, "boss", "admin")
    page = await browse.get(f"/office/audit{query}")
    assert page.status_code == 200
    assert "user_roles" in page.text or query == "?table=users"


@pytest.mark.parametrize("query", ["?person=nobody", "?since=yesterday", "?after=x"])
async def test_the_audit_page_says_what_is_wrong(browse: Visitor, store: Store, query: str) -> None:
    await become(browse, store, "boss", "admin")
    page = await browse.get(f"/office/audit{query}")
    assert page.status_code == 200
    assert 'class="notice tone-bad"' in page.text


async def test_the_office_shows_what_waits(browse: Visitor, store: Store, make: Factory) -> None:
    listing, buyer = await make.listing(await make.person("seller")), await make.person()
    await moderate.report_subject(store, buyer, "listing", listing, ReportForm(reason="spam"))
    await become(browse, store, "boss", "admin")
    assert "1 report " in text_of((await browse.get("/office")).text)
