-- How far a conversation has reached each of its people, beside how far they have read.

ALTER TABLE participants
    ADD COLUMN last_delivered_seq INTEGER DEFAULT '0' NOT NULL,
    ADD COLUMN last_delivered_at TIMESTAMP WITH TIME ZONE,
    ADD CONSTRAINT ck_participants_delivered_what_is_there CHECK (last_delivered_seq BETWEEN 0 AND last_seq);
GRANT UPDATE (last_delivered_seq, last_delivered_at) ON participants TO tradepost_app;
