"""A store to trade in: sellers, goods with stock, and buyers who are programs with a token."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from tradepost.core.ids import secret_token, token_hash, uuid7


@dataclass(frozen=True)
class Good:
    """Something on sale."""

    variant_id: UUID
    seller_id: UUID
    stock: int
    price_minor: int


@dataclass(frozen=True)
class Buyer:
    """Somebody who buys, and the token they do it with."""

    user_id: UUID
    token: str


async def add_goods(
    owner: asyncpg.Connection, prefix: str, sellers: int, each: int, stock: int, price_minor: int
) -> list[Good]:
    """Put goods of new sellers on sale: `each` of every seller, `stock` of each."""
    made: list[Good] = []
    category = await owner.fetchval(
        "SELECT id FROM categories c WHERE NOT EXISTS (SELECT FROM categories k WHERE k.parent_id = c.id) LIMIT 1"
    )
    unit = await owner.fetchval("SELECT code FROM units LIMIT 1")
    currency = await owner.fetchval("SELECT currency FROM prices LIMIT 1") or "USD"
    for number in range(sellers):
        seller_id = await _add_person(owner, f"{prefix}-seller-{number}")
        for n in range(each):
            listing_id, variant_id = uuid7(), uuid7()
            await owner.execute(
                "INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, status, category_id, published_at) "
                "VALUES ($1, $2, 'product', 'discover', $3, $3, 'For a benchmark.', 'active', $4, now())",
                listing_id, seller_id, f"{prefix}-{number}-{n}", category,
            )  # fmt: skip
            await owner.execute(
                "INSERT INTO variants (id, listing_id, unit, sale_step, on_hand) VALUES ($1, $2, $3, 1, $4)",
                variant_id, listing_id, unit, stock,
            )  # fmt: skip
            await owner.execute(
                "INSERT INTO prices (variant_id, currency, amount_minor, valid_from) VALUES ($1, $2, $3, now() - interval '1 day')",
                variant_id, currency, price_minor,
            )  # fmt: skip
            made.append(Good(variant_id, seller_id, stock, price_minor))
    return made


async def add_buyers(owner: asyncpg.Connection, prefix: str, count: int, points: int = 0) -> list[Buyer]:
    """Make people who may buy, each with an API token and so many loyalty points."""
    role = await owner.fetchval("SELECT role FROM role_permissions WHERE permission = 'buy' ORDER BY role LIMIT 1")
    made = [Buyer(uuid7(), secret_token()) for _ in range(count)]
    async with owner.transaction():
        await owner.executemany(_PERSON, [(b.user_id, f"{prefix}-buyer-{n}") for n, b in enumerate(made)])
        await owner.executemany(
            "INSERT INTO user_roles (user_id, role) VALUES ($1, $2)", [(b.user_id, role) for b in made]
        )
        await owner.executemany(
            "INSERT INTO tokens (user_id, token_hash, kind, name, scopes, expires_at) "
            "VALUES ($1, $2, 'api', 'benchmark', '{buy}', now() + interval '1 day')",
            [(b.user_id, token_hash(b.token)) for b in made],
        )  # fmt: skip
        if points:
            await owner.executemany(
                "INSERT INTO loyalty_entries (user_id, points, kind) VALUES ($1, $2, 'adjusted')",
                [(b.user_id, points) for b in made],
            )
    return made


async def fill_carts(owner: asyncpg.Connection, buyers: list[Buyer], choices: list[tuple[Good, ...]]) -> None:
    """Put one of each good into every buyer's cart, `choices` in turn."""
    carts = [(uuid7(), buyer, choices[n % len(choices)]) for n, buyer in enumerate(buyers)]
    currency = await owner.fetchval("SELECT currency FROM prices WHERE variant_id = $1", choices[0][0].variant_id)
    async with owner.transaction():
        await owner.executemany(
            "INSERT INTO carts (id, user_id, currency) VALUES ($1, $2, $3)",
            [(cart_id, buyer.user_id, currency) for cart_id, buyer, _ in carts],
        )
        await owner.executemany(
            "INSERT INTO cart_lines (cart_id, line_no, variant_id, quantity, unit_price_minor, configuration_hash) "
            "VALUES ($1, $2, $3, 1, $4, '')",
            [
                (cart_id, n, good.variant_id, good.price_minor)
                for cart_id, _, chosen in carts
                for n, good in enumerate(chosen, 1)
            ],
        )


_PERSON = (
    "INSERT INTO users (id, username, email, display_name) "
    "VALUES ($1, CAST($2 AS text), CAST($2 AS text) || '@example.com', CAST($2 AS text))"
)


async def _add_person(owner: asyncpg.Connection, name: str) -> UUID:
    user_id = uuid7()
    await owner.execute(_PERSON, user_id, name)
    return user_id
