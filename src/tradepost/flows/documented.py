"""A store's tables under the names of its document: the schema `documented`, from `documented.sql` of the preset.

Promises that the schema is made anew whenever one of its two files has changed or a migration has dropped it, and that it only
reads: with the rights of who asks. A preset without such a file has the three views of sums that every store has. A migration
drops the schema, because views hold on to the columns they read; `install_store` brings it back.
"""

from hashlib import sha256
from pathlib import Path

from sqlalchemy import text

from tradepost.core.database import Transaction

NAME = "documented.sql"
_SHARED = Path(__file__).with_name(NAME)
_MADE_FROM = text("SELECT obj_description(to_regnamespace('documented'), 'pg_namespace')")
_SCRIPT = """
    SET LOCAL ROLE tradepost_owner;
    DROP SCHEMA IF EXISTS documented CASCADE;
    CREATE SCHEMA documented;
    COMMENT ON SCHEMA documented IS '{mark}';
    {shared}
    {own}
    GRANT USAGE ON SCHEMA documented TO tradepost_app, tradepost_readonly;
    GRANT SELECT ON ALL TABLES IN SCHEMA documented TO tradepost_app, tradepost_readonly;
    RESET ROLE;
"""


async def install_documented(tx: Transaction, folder: Path) -> None:
    """Make the schema for the preset in `folder`, unless it is there already. `tx` is the owner's."""
    path = folder / NAME
    own = path.read_text("utf-8") if path.exists() else ""
    shared = _SHARED.read_text("utf-8")
    mark = sha256(f"{shared}\n{own}".encode()).hexdigest()
    if mark != await tx.value(_MADE_FROM):
        await tx.connection.execute(_SCRIPT.format(mark=mark, shared=shared, own=own))
