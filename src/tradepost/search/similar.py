"""Listings like another one: by meaning where it has a vector, else by category and words of the title."""

from uuid import UUID

from sqlalchemy import text

from tradepost.catalog.queries import CARDS_BY_ID
from tradepost.catalog.types import ListingCard
from tradepost.core.database import Database

# Without a vector: what shares its category and a word of its title, the popular ones first.
_LIKE = text("""
    WITH it AS MATERIALIZED (
        SELECT d.listing_id, d.words, d.tags, v.embedding FROM search_documents d
        LEFT JOIN search_vectors v ON v.listing_id = d.listing_id WHERE d.listing_id = :listing_id
    ), near AS MATERIALIZED (
        SELECT n.listing_id FROM it CROSS JOIN LATERAL search_nearest(it.embedding, CAST(:reach AS int)) n WHERE it.embedding IS NOT NULL
    ), by_meaning AS (
        SELECT n.listing_id, row_number() OVER () AS place FROM near n WHERE n.listing_id <> :listing_id
    ), by_words AS (
        SELECT d.listing_id, row_number() OVER (ORDER BY ts_rank(d.words, q.query) DESC, d.popularity DESC) AS place
        FROM (SELECT it.tags, CAST(string_agg(quote_literal(w.lexeme), ' | ') AS tsquery) AS query
              FROM it CROSS JOIN LATERAL unnest(it.words) AS w(lexeme, positions, weights)
              WHERE 'A' = ANY (w.weights) GROUP BY it.tags) q
        CROSS JOIN LATERAL (
            SELECT d.listing_id, d.words, d.popularity FROM search_documents d
            WHERE d.words @@ q.query AND d.tags @> (SELECT array_agg(t) FROM unnest(q.tags) AS t WHERE t LIKE 'category=%') LIMIT 500) d
        WHERE NOT EXISTS (SELECT FROM near) AND d.listing_id <> :listing_id
    )
    SELECT b.listing_id FROM (SELECT * FROM by_meaning UNION ALL SELECT * FROM by_words) b ORDER BY b.place LIMIT :limit
""")


async def similar_listings(db: Database, listing_id: UUID, *, limit: int = 6) -> tuple[ListingCard, ...]:
    """Return listings on offer that are most like this one, the most alike first; none for one that cannot be found."""
    ids = [row[0] for row in await db.read(_LIKE, listing_id=listing_id, limit=limit, reach=limit + 1)]
    if not ids:
        return ()
    cards = {card.id: card for card in await db.read(CARDS_BY_ID, into=ListingCard, ids=ids)}
    return tuple(cards[i] for i in ids if i in cards)
