ALTER TABLE ingest_runs ADD COLUMN turn integer NOT NULL DEFAULT 0;
COMMENT ON TABLE ingest_runs IS
    'One reading of a source: how far it is (`at_row`, of `whole` bytes where that is known), what it brought, and how it ended. `turn` counts who went on with it; only the last one writes.';

CREATE TABLE source_hosts (
    host text NOT NULL,
    free_at timestamptz NOT NULL,
    CONSTRAINT pk_source_hosts PRIMARY KEY (host),
    CONSTRAINT ck_source_hosts_host_length CHECK (char_length(host) BETWEEN 1 AND 300)
) WITH (fillfactor = 50);
COMMENT ON TABLE source_hosts IS 'When a server of outside markets may be asked again, however many workers read from it.';
GRANT SELECT, INSERT, UPDATE, DELETE ON source_hosts TO tradepost_app;
GRANT SELECT ON source_hosts TO tradepost_readonly;
