"""Vectors of what texts mean: by the model on this machine, or by an OpenAI-compatible endpoint.

Promises vectors of length one with 384 numbers, whichever way. The local model needs the packages of the extra `vectors` and no
network; it is loaded when first needed. Knows nothing of listings.
"""

import asyncio
import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import msgspec
import structlog

from tradepost.core.errors import Unavailable
from tradepost.core.home import find_home, open_home
from tradepost.core.minilm import DIMENSIONS, model_file, weights_folder
from tradepost.core.settings import EmbeddingSettings

_log = structlog.get_logger()
_LONGEST: Final = 128  # tokens of a document that are read
_REMEMBERED: Final = 2000
Vector = list[float]


class EndpointFailed(Unavailable):
    """The endpoint for embeddings did not answer as it should."""


class Embedder(Protocol):
    """Makes vectors of texts."""

    @property
    def model(self) -> str:
        """The model's name: vectors of different models cannot be compared."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return a vector of length one for each text. Raises `Unavailable`."""
        ...


class LocalModel:
    """all-MiniLM-L6-v2 on the CPU, in threads beside the event loop."""

    model = "all-MiniLM-L6-v2"

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._loading: asyncio.Task[tuple[Any, Any]] | None = None

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return a vector for each text; texts of like length share a batch, so that little is padded."""
        if not texts:
            return []
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        tokenizer, session = await asyncio.shield(self._loading)
        return await asyncio.to_thread(_run, tokenizer, session, texts)

    def _load(self) -> tuple[Any, Any]:
        path = model_file(self._folder)
        import onnxruntime
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(weights_folder() / "tokenizer.json"))
        tokenizer.enable_padding()  # as published it pads everything to 128 tokens
        tokenizer.enable_truncation(_LONGEST)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        return tokenizer, onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(tokenizer: Any, session: Any, texts: Sequence[str], batch: int = 32) -> list[Vector]:
    import numpy as np

    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    found: list[Vector] = [[]] * len(texts)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        encoded = tokenizer.encode_batch([texts[n] for n in part])
        feed = {
            "input_ids": np.array([e.ids for e in encoded], np.int64),
            "attention_mask": np.array([e.attention_mask for e in encoded], np.int64),
        }
        for n, vector in zip(part, session.run(None, feed)[0].tolist(), strict=True):
            found[n] = vector
    return found


class _Item(msgspec.Struct, frozen=True):
    index: int
    embedding: list[float]


class _Reply(msgspec.Struct, frozen=True):
    data: list[_Item]


class Endpoint:
    """An OpenAI-compatible endpoint: `POST <url>/embeddings`, with vectors cut to 384 numbers where it can."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self.model = settings.model
        self._settings = settings

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return a vector for each text. Raises `EndpointFailed`."""
        if not texts:
            return []
        body = {"model": self.model, "input": list(texts), "dimensions": DIMENSIONS}
        headers = {"authorization": f"Bearer {self._settings.api_key}"} if self._settings.api_key else {}
        try:
            async with httpx.AsyncClient(timeout=self._settings.timeout_ms / 1000, trust_env=False) as client:
                answer = await client.post(self._settings.url.rstrip("/") + "/embeddings", json=body, headers=headers)
            answer.raise_for_status()
            reply = msgspec.json.decode(answer.content, type=_Reply)
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise EndpointFailed from error
        vectors = [item.embedding for item in sorted(reply.data, key=lambda item: item.index)]
        if len(vectors) != len(texts) or any(len(v) != DIMENSIONS for v in vectors):
            raise EndpointFailed
        return [_of_length_one(v) for v in vectors]


def _of_length_one(vector: Vector) -> Vector:
    length = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / length for x in vector]


@cache
def open_embedder(settings: EmbeddingSettings) -> Embedder | None:
    """Return what makes vectors in this process, or None where there is nothing: then search goes by words, and that is said once."""
    if settings.provider == "off":
        return None
    if settings.provider == "endpoint":
        return Endpoint(settings)
    try:
        weights_folder()
    except Unavailable as missing:
        _log.info("search.by_words_only", reason=missing.message)
        return None
    folder = Path(settings.folder) if settings.folder else open_home(find_home(os.environ)).folder("models")
    return LocalModel(folder, settings.threads)


class QueryVectors:
    """Vectors of queries, remembered; nobody waits for a model that is still being loaded or an endpoint that is away."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: OrderedDict[str, Vector] = OrderedDict()
        self._warming: asyncio.Task[None] | None = None
        self._is_warm = isinstance(embedder, Endpoint)

    @property
    def model(self) -> str:
        """The model's name."""
        return self._embedder.model

    async def of(self, query: str, *, wait: bool = False) -> Vector | None:
        """Return a query's vector, or None where it cannot be had at once; with `wait` the model is loaded first."""
        found = self._known.get(query)
        if found is not None:
            self._known.move_to_end(query)
            return found
        if not self._is_warm and not wait:
            self._warm()
            return None
        try:
            (vector,) = await self._embedder.embed([query])
        except Unavailable as error:
            if wait:
                raise
            _log.warning("search.no_vector", reason=error.message)
            return None
        self._is_warm = True
        self._known[query] = vector
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return vector

    def _warm(self) -> None:
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._load())

    async def _load(self) -> None:
        try:
            await self._embedder.embed(["warm"])
            self._is_warm = True
        except Unavailable as error:
            _log.info("search.by_words_only", reason=error.message)


@cache
def query_vectors(settings: EmbeddingSettings) -> QueryVectors | None:
    """Return the vectors of queries for this process, or None where there is no model."""
    embedder = open_embedder(settings)
    return QueryVectors(embedder) if embedder else None
