"""JSON over HTTP under `/api/v1`: the same flows as the pages, for programs. Errors are problem+json (RFC 9457)."""
