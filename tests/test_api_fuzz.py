"""Whatever a client sends, the API answers with a status that is meant: never with a 5xx, always in its own words."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error

from tests.conftest import MARKET, Servers
from tests.factories import Factory
from tests.serving import running
from tradepost.accounts.api_tokens import issue_token
from tradepost.accounts.types import NewToken
from tradepost.flows.store import Store

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def served(
    store: Store, store_dsn: str, make: Factory, servers: Servers, tmp_path: Path
) -> AsyncIterator[tuple[str, str]]:
    """Serve a store with something in it; yield its address and an API token of its administrator."""
    await make.listing(await make.person("seller"), "Red apples")
    admin = await make.person("admin")
    async with store.db.transaction(actor=admin.actor) as tx:
        token = await issue_token(tx, admin, NewToken(name="fuzz", scopes=tuple(sorted(admin.permissions))))
    with running(store_dsn, servers.cache_url, tmp_path / "files", MARKET) as address:
        yield address, token.secret


def test_no_request_makes_the_api_fail(served: Any) -> None:
    """Every operation of the OpenAPI document, with sound and with broken input, as anybody and as an administrator."""
    address, token = served
    schema = schemathesis.openapi.from_url(f"{address}/api/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 30
    for headers in ({}, {"Authorization": f"Bearer {token}"}):
        for operation in operations:
            try_out(operation, headers)


def try_out(operation: Any, headers: dict[str, str]) -> None:
    """Send an operation a dozen requests that its schema suggests."""

    @settings(
        max_examples=12, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=[not_a_server_error])

    check()
