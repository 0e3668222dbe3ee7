"""Tables of search. Triggers on listings and variants keep the documents (migrations/sql/0005_search.sql)."""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BIT, JSONB, REAL, TSVECTOR, UUID
from sqlalchemy.types import UserDefinedType

from tradepost.core.columns import GeoPoint, Vector, created, key, minor, moment, one_of, reference, updated, words
from tradepost.core.database import metadata

_SHORT_LIST = {"gin_pending_list_limit": "512"}  # every search reads the pending list


class TransactionId(UserDefinedType[Any]):
    """A transaction's number: the type `xid8`."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name for DDL."""
        return "xid8"


INDEXED_TIERS = (1, 2, 3)
"""Tiers of popularity with an index of their own: a quarter of the documents each of the one before."""


def _find_index(tier: int) -> Index:
    return Index(
        f"ix_search_documents_find_tier_{tier}",
        "words",
        "tags",
        "marks",
        postgresql_using="gin",
        postgresql_where=text(f"marks @> '{{tier={tier}}}'::text[]"),
        postgresql_with=_SHORT_LIST,
    )


search_documents = Table(
    "search_documents",
    metadata,
    reference("listing_id", "listings.id", on_delete="CASCADE", primary_key=True),
    words("title"),
    words("category_path"),
    Column("metadata", JSONB, nullable=False, server_default="{}"),
    Column("words", TSVECTOR, nullable=False),
    words("trigrams"),
    Column("tags", ARRAY(Text), nullable=False, server_default="{}"),
    Column("marks", ARRAY(Text), nullable=False, server_default="{}"),
    Column("length", Integer, nullable=False, server_default="0"),
    Column("seller_id", UUID),
    minor("price_minor", nullable=True),
    minor("price_to_minor", nullable=True),
    Column("in_stock", Boolean, nullable=False, server_default="false"),
    Column("location", GeoPoint),
    Column("popularity", REAL, nullable=False, server_default="0"),
    Column("rating", REAL, nullable=False, server_default="0"),
    moment("published_at"),
    Column("signature", BIT(384)),
    updated(),
    Index("ix_search_documents_find", "words", "tags", "marks", postgresql_using="gin", postgresql_with=_SHORT_LIST),
    Index(
        "ix_search_documents_trigrams",
        text("trigrams gin_trgm_ops"),
        postgresql_using="gin",
        postgresql_with=_SHORT_LIST,
    ),
    *(_find_index(tier) for tier in INDEXED_TIERS),
    Index("ix_search_documents_location", "location", postgresql_using="gist"),
    Index("ix_search_documents_newest", text("published_at DESC"), text("listing_id DESC")),
    Index("ix_search_documents_popular", text("popularity DESC"), text("listing_id DESC")),
    Index("ix_search_documents_price", "price_minor", "listing_id", postgresql_where=text("price_minor IS NOT NULL")),
    Index("ix_search_documents_rated", text("rating DESC"), text("listing_id DESC")),
    postgresql_with={"fillfactor": "90", "toast_tuple_target": "8160"},
    comment="One row for each listing that can be found. `tags` are what can be counted (category=fruit, .organic=true), `marks` are what only narrows (in stock, price band, map cell, popularity tier); `signature` is the signs of the vector.",
)

search_vectors = Table(
    "search_vectors",
    metadata,
    reference("listing_id", "search_documents.listing_id", on_delete="CASCADE", primary_key=True),
    Column("embedding", Vector(384), nullable=False),
    words("model"),
    Column("text_hash", LargeBinary, nullable=False),
    created(),
    Index(
        "ix_search_vectors_near",
        text("(embedding::halfvec(384)) halfvec_cosine_ops"),
        postgresql_using="hnsw",
        postgresql_with={"m": "24", "ef_construction": "128"},
    ),
    comment="What a document means, as a vector of length one; apart from it because it is wide and follows later.",
)

search_queue = Table(
    "search_queue",
    metadata,
    Column("listing_id", UUID, primary_key=True),
    created(),
    comment="Documents that wait for their vector.",
)

search_terms = Table(
    "search_terms",
    metadata,
    words("kind"),
    words("term"),
    Column("documents", Integer, nullable=False),
    PrimaryKeyConstraint("kind", "term"),
    one_of("kind", "word", "tag", "mark"),
    Index("ix_search_terms_tags", text("lower(term)"), postgresql_where=text("kind = 'tag'")),
    comment="In how many documents a word, tag or mark occurs; counted by a job.",
)

search_vocabulary = Table(
    "search_vocabulary",
    metadata,
    Column("word", Text, primary_key=True),
    words("stem"),
    Column("documents", Integer, nullable=False),
    Column("deletes", ARRAY(Text), nullable=False, server_default="{}"),
    Index("ix_search_vocabulary_trigrams", text("word gin_trgm_ops"), postgresql_using="gin"),
    Index("ix_search_vocabulary_deletes", "deletes", postgresql_using="gin"),
    Index("ix_search_vocabulary_prefix", text("word text_pattern_ops")),
    comment="Words as they are written, without accents, with the number of titles that have them: typos are corrected to them. `deletes` is the word, and what is left of it without one letter.",
)

search_state = Table(
    "search_state",
    metadata,
    Column("id", Integer, primary_key=True, server_default="1"),
    words("language", default="english"),
    Column("documents", Integer, nullable=False, server_default="0"),
    Column("average_length", REAL, nullable=False, server_default="1"),
    Column("tiers", ARRAY(REAL), nullable=False, server_default="{}"),
    Column("settings", JSONB, nullable=False, server_default="{}"),
    moment("counted_at", nullable=True),
    moment("interest_seen_at", default_now=True),
    moment("due_seen_at", default_now=True),
    CheckConstraint("id = 1", name="one_row"),
    comment="One row: counts of the whole, popularity from which a tier begins, weights that staff chose.",
)

search_synonyms = Table(
    "search_synonyms",
    metadata,
    key(),
    words("word"),
    words("means"),
    Column("both_ways", Boolean, nullable=False, server_default="true"),
    Column("created_by", UUID),
    created(),
    UniqueConstraint("word", "means"),
    CheckConstraint("char_length(word) BETWEEN 1 AND 60", name="word_length"),
    CheckConstraint("char_length(means) BETWEEN 1 AND 60", name="means_length"),
    CheckConstraint("word <> means", name="not_itself"),
    Index("ix_search_synonyms_means", "means", postgresql_where=text("both_ways")),
    comment="Other words for a word in this store.",
)

search_log = Table(
    "search_log",
    metadata,
    Column("id", UUID, nullable=False, server_default=text("uuidv7()")),
    moment("at", default_now=True),
    words("query"),
    words("corrected", nullable=True),
    Column("user_id", UUID),
    Column("session_hash", LargeBinary),
    Column("results_count", Integer, nullable=False),
    words("search_type"),
    Column("response_ms", REAL, nullable=False),
    Column("filters", JSONB, nullable=False, server_default="{}"),
    Column("clicked_id", UUID),
    moment("clicked_at", nullable=True),
    Column("ordered_id", UUID),
    moment("ordered_at", nullable=True),
    PrimaryKeyConstraint("id", "at"),
    one_of("search_type", "words", "vectors", "both", "browse", "similar"),
    Index("ix_search_log_nothing_found", "at", postgresql_where=text("results_count = 0")),
    Index("ix_search_log_session_hash_at", "session_hash", "at", postgresql_where=text("session_hash IS NOT NULL")),
    Index("ix_search_log_user_id_at", "user_id", "at", postgresql_where=text("user_id IS NOT NULL")),
    postgresql_partition_by="RANGE (at)",
    comment="Every search: what was asked, what was found and how fast, what was clicked and ordered. One partition a month.",
)

search_changes = Table(
    "search_changes",
    metadata,
    Column("transaction", TransactionId, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("listing_id", UUID, nullable=False),
    Column("words", Boolean, nullable=False),
    PrimaryKeyConstraint("transaction", "listing_id"),
    prefixes=["UNLOGGED"],
    comment="Listings that the present transaction changed; emptied at its commit. `words`: the text changed too.",
)

search_changed = Table(
    "search_changed",
    metadata,
    Column("transaction", TransactionId, primary_key=True, server_default=text("pg_current_xact_id()")),
    prefixes=["UNLOGGED"],
    comment="One row while a transaction has changed listings: its deferred trigger refreshes their documents at the commit.",
)
