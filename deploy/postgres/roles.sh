#!/bin/sh
# The server's role with its password, before `tradepost migrate` makes the rest. PostgreSQL's image runs this once, on a new volume.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$TRADEPOST_APP_PASSWORD" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE tradepost_app LOGIN PASSWORD :'password';
SQL
