DROP TRIGGER note_for_alerts_inserted ON search_documents;
DROP TRIGGER note_for_alerts_updated ON search_documents;
DROP FUNCTION alerts_note_inserted(), alerts_note_updated(), alerts_call_matcher();
DROP TABLE alert_matches, alert_queue, alert_wide_terms, alert_index;
DROP INDEX ix_alerts_digest_at, ix_alerts_not_compiled;
ALTER TABLE alerts DROP COLUMN compiled_at, DROP COLUMN compiled_for, DROP COLUMN is_broad, DROP COLUMN digest_at,
    ALTER COLUMN notification_settings SET DEFAULT '{}';
