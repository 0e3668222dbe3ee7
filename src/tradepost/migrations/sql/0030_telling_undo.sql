DROP FUNCTION notice_due(text, text, time, time, integer, timestamptz);
DROP TABLE push_keys, notice_hooks, push_subscriptions, notice_times, notice_preferences, deliveries;
DELETE FROM notices WHERE kind NOT IN ('show_planned', 'show_started', 'evidence');
ALTER TABLE notices DROP CONSTRAINT ck_notices_kind_known, DROP CONSTRAINT ck_notices_content_length, DROP COLUMN content, DROP COLUMN data;
ALTER TABLE notices ADD CONSTRAINT ck_notices_kind_known CHECK (kind IN ('show_planned', 'show_started', 'evidence'));
