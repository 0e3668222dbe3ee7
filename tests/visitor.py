"""A browser without scripts, for tests of pages: follows links, fills in forms with their token, keeps cookies."""

import re
from html import unescape
from typing import Any

import httpx

_TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]+)"')


class Visitor:
    """Somebody who looks at a store's pages."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.token = ""

    async def get(self, path: str, *, follow: bool = True, **headers: str) -> httpx.Response:
        """Open a page; remember the token of its forms."""
        answer = await self.client.get(path, follow_redirects=follow, headers=headers)
        self._remember(answer)
        return answer

    async def post(
        self, path: str, fields: dict[str, str] | None = None, *, files: Any = None, follow: bool = True
    ) -> httpx.Response:
        """Send a form with the token of the last page; opens the front page for one where there is none."""
        if not self.token:
            await self.get("/")
        data = {"csrf_token": self.token, **(fields or {})}
        answer = await self.client.post(path, data=data, files=files, follow_redirects=follow)
        self._remember(answer)
        return answer

    async def order(self, variant: str, **fields: str) -> httpx.Response:
        """Put one of something in the cart and order it by the forms, to be picked up; return the reply to the last of them."""
        await self.post("/cart/add", {"variant_id": variant, "quantity": "1"})
        await self.get("/checkout")
        form = {"shipping": "pickup", "email": "ann@example.com", **fields}
        page = (await self.post("/checkout", {**form, "action": "update"})).text
        hidden = {name: value for name in ("idempotency_key", "expected_total_minor") for value in _hidden(page, name)}
        return await self.post("/checkout", {**form, **hidden}, follow=False)

    def _remember(self, answer: httpx.Response) -> None:
        found = _TOKEN.search(answer.text) if "html" in answer.headers.get("content-type", "") else None
        if found:
            self.token = found[1]

    async def sign_up(self, username: str, role: str = "buyer") -> httpx.Response:
        """Make an account and stay signed in."""
        return await self.post(
            "/sign-up",
            {
                "username": username,
                "email": f"{username}@example.com",
                "password": "a-walnut-tree-in-may",
                "display_name": username.title(),
                "role": role,
            },
        )


def _hidden(page: str, name: str) -> list[str]:
    return re.findall(rf'name="{name}" value="([^"]*)"', page)


def text_of(page: str) -> str:
    """Return what a page says, without its tags."""
    return re.sub(
        r"\s+",
        " ",
        unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style)[^>]*>.*?</\1>", " ", page, flags=re.DOTALL))),
    )
