"""Vectors from an OpenAI-compatible endpoint, and searching by meaning with them; without a model search goes by words."""

import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from sqlalchemy import text
from structlog.testing import LogCapture

from tests.factories import Factory
from tradepost.accounts.types import Caller
from tradepost.core import embeddings, minilm
from tradepost.core.database import SYSTEM
from tradepost.core.embeddings import Endpoint, EndpointFailed, LocalModel, open_embedder
from tradepost.core.settings import EmbeddingSettings, Settings
from tradepost.flows.search_jobs import embed_documents
from tradepost.flows.search_listings import search
from tradepost.flows.store import Store
from tradepost.search.service import forget_facts
from tradepost.search.similar import similar_listings
from tradepost.search.types import SearchRequest, SearchResult
from tradepost.search.vectors import count_waiting, index_statements, queue_all

_MEANINGS = {"aubergine": "eggplant", "aubergines": "eggplant", "brinjal": "eggplant"}


def meaning(said: str) -> list[float]:
    """Return a vector of the words' meanings: those that mean the same point the same way. Not of length one."""
    vector = [0.0] * 384
    for word in said.lower().replace(".", " ").replace(",", " ").split():
        known = _MEANINGS.get(word, word)
        vector[int.from_bytes(hashlib.sha256(known.encode()).digest()[:4], "big") % 384] += (
            3.0 if known == "eggplant" else 1.0
        )
    return vector


@dataclass
class Service:
    """A local service that speaks as OpenAI's does, or misbehaves."""

    url: str = ""
    mode: str = "well"
    asked: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        """Return status and body."""
        rows = [{"index": n, "embedding": meaning(t)} for n, t in enumerate(asked["input"])]
        if self.mode == "short":
            rows[0]["embedding"] = [1.0]
        if self.mode == "few":
            rows.pop()
        if self.mode == "slow":
            time.sleep(2)
        if self.mode == "broken":
            return 200, b'{"data": [{'
        return (500 if self.mode == "failing" else 200), json.dumps({"data": rows[::-1]}).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    """Run the service on a free port."""
    known = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known.asked.append({**body, "path": self.path, "authorization": self.headers.get("authorization")})
            status, answer = known.answer(body)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield known
    server.shutdown()
    server.server_close()


def settings(service: Service) -> EmbeddingSettings:
    return EmbeddingSettings(provider="endpoint", url=service.url, model="small", api_key="secret", timeout_ms=700)


async def test_endpoint_is_asked_as_openai_is_and_answers_in_order(service: Service) -> None:
    vectors = await Endpoint(settings(service)).embed(["red apples", "green pears"])
    assert service.asked == [
        {"path": "/v1/embeddings", "authorization": "Bearer secret", "model": "small", "input": ["red apples", "green pears"], "dimensions": 384}
    ]  # fmt: skip
    for vector, said in zip(vectors, ("red apples", "green pears"), strict=True):
        length = math.hypot(*meaning(said))
        assert vector == pytest.approx([x / length for x in meaning(said)])
    assert await Endpoint(settings(service)).embed([]) == []


@pytest.mark.parametrize("mode", ["short", "few", "slow", "broken", "failing"])
async def test_endpoint_that_misbehaves_is_said_to_have_failed(service: Service, mode: str) -> None:
    service.mode = mode
    with pytest.raises(EndpointFailed):
        await Endpoint(settings(service)).embed(["red apples", "green pears"])


@pytest.fixture
def installation(service: Service) -> Settings:
    """Have the test's store get its vectors from the service."""
    return Settings(stores=("market",), test_payments=True, embeddings=settings(service))


async def ask(store: Store, query: str, **wanted: object) -> SearchResult:
    """Search afresh, as an anonymous visitor."""
    forget_facts(store.db)
    return await search(store, Caller(), SearchRequest(query=query, **wanted))  # type: ignore[arg-type]


async def test_what_shares_no_word_is_found_by_its_meaning(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    purple = await make.listing(seller, "Aubergines", description="Brinjal.")
    await make.listing(seller, "Hammer", category="tools", description="Steel.")
    assert (await ask(store, "eggplant")).items == ()  # the vector follows
    assert await count_waiting(store.db) == 2
    await embed_documents(store)
    assert await count_waiting(store.db) == 0
    result = await ask(store, "eggplant", explain=True)
    assert [card.id for card in result.items] == [purple]
    assert (result.search_type, result.scores[0].words) == ("both", 0)
    assert result.scores[0].meaning > 0.5
    assert [card.id for card in (await ask(store, "eggplant", category="tools")).items] == []


async def test_vector_follows_the_words_and_is_not_made_twice(store: Store, make: Factory, service: Service) -> None:
    listing = await make.listing(await make.person("seller"), "Aubergines", description="Brinjal.")
    await embed_documents(store)
    asked = len(service.asked)
    await queue_all(store.db, "small", anew=True)
    await embed_documents(store)
    assert len(service.asked) == asked  # its text is the same
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE listings SET title = 'Hammer', description = 'Steel' WHERE id = :id"), id=listing)
    await embed_documents(store)
    assert (await ask(store, "eggplant")).items == ()


async def test_similar_goes_by_meaning_where_there_are_vectors(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    one = await make.listing(seller, "Aubergines", description="")
    await make.listing(seller, "Hammer", category="tools", description="")
    await make.listing(seller, "Brinjal", category="tools", description="")
    await embed_documents(store)
    assert (await similar_listings(store.db, one))[0].title == "Brinjal"


async def test_words_still_find_when_the_endpoint_is_away(store: Store, make: Factory, service: Service) -> None:
    await make.listing(await make.person("seller"), "Aubergines")
    await embed_documents(store)
    service.mode = "failing"
    result = await ask(store, "aubergines")
    assert ([card.title for card in result.items], result.search_type) == (["Aubergines"], "words")


async def test_either_index_finds_the_same(store: Store, store_dsn: str, make: Factory) -> None:
    seller = await make.person("seller")
    for n in range(30):
        await make.listing(seller, f"Aubergines {n}", description="")
    await embed_documents(store)
    owner = await asyncpg.connect(store_dsn.replace("tradepost_app", "postgres"))
    found = {}
    for kind in ("hnsw", "ivfflat"):
        for statement in index_statements(kind, 30):  # type: ignore[arg-type]
            await owner.execute(statement)
        definition = await owner.fetchval("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_search_vectors_near'")
        assert f"USING {kind}" in definition
        found[kind] = {card.id for card in (await ask(store, "eggplant", limit=50)).items}
    await owner.close()
    assert len(found["hnsw"]) == 30
    assert found["ivfflat"] == found["hnsw"]


async def test_without_a_model_search_goes_by_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = LogCapture()
    monkeypatch.setattr(embeddings, "_log", structlog.wrap_logger(None, processors=[said]))
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    assert open_embedder(EmbeddingSettings(provider="off")) is None
    assert said.entries == []
    for _ in range(2):
        assert open_embedder(EmbeddingSettings(folder=str(tmp_path / "models"))) is None
    assert [(line["event"], line["log_level"]) for line in said.entries] == [("search.by_words_only", "info")]


async def test_model_on_this_machine_knows_what_is_alike(tmp_path: Path) -> None:
    model = open_embedder(EmbeddingSettings(folder=str(tmp_path / "models"), threads=1))
    assert isinstance(model, LocalModel)
    headphones, earbuds, hammer = await model.embed(["wireless headphones", "bluetooth earbuds", "steel hammer"])
    assert math.hypot(*headphones) == pytest.approx(1, abs=1e-3)
    alike, unlike = (sum(a * b for a, b in zip(headphones, v, strict=True)) for v in (earbuds, hammer))
    assert alike > 0.5
    assert unlike < 0.35
