"""Where PostgreSQL itself is, for tests that run with a pooler between."""

import os
from urllib.parse import urlsplit


def direct(dsn: str) -> str:
    """Return PostgreSQL's own address of a database that is named by the pooler's; empty where there is no pooler between."""
    pooler = os.environ.get("TRADEPOST_TEST_POOLER_URL")
    if not pooler or f":{urlsplit(pooler).port}/" not in dsn:
        return ""
    server = urlsplit(os.environ["TRADEPOST_TEST_DATABASE_URL"])
    return dsn.replace(f":{urlsplit(pooler).port}/", f":{server.port}/")
