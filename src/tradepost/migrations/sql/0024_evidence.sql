-- A dispute is an order in the state `disputed`: both sides show what they have, staff decide.

CREATE TABLE dispute_evidence (
    id UUID DEFAULT uuidv7() NOT NULL,
    order_id UUID NOT NULL,
    by_id UUID,
    side TEXT NOT NULL,
    body TEXT DEFAULT '' NOT NULL,
    file_id UUID,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_dispute_evidence PRIMARY KEY (id),
    CONSTRAINT ck_dispute_evidence_side_known CHECK (side IN ('buyer', 'seller', 'staff')),
    CONSTRAINT ck_dispute_evidence_body_length CHECK (char_length(body) <= 2000),
    CONSTRAINT ck_dispute_evidence_says_or_shows CHECK (body <> '' OR file_id IS NOT NULL),
    CONSTRAINT fk_dispute_evidence_order_id FOREIGN KEY(order_id) REFERENCES orders (id) ON DELETE RESTRICT,
    CONSTRAINT fk_dispute_evidence_by_id FOREIGN KEY(by_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_dispute_evidence_file_id FOREIGN KEY(file_id) REFERENCES files (id) ON DELETE RESTRICT
);
CREATE INDEX ix_dispute_evidence_order_id ON dispute_evidence (order_id, at);
CREATE INDEX ix_dispute_evidence_by_id ON dispute_evidence (by_id) WHERE by_id IS NOT NULL;
CREATE INDEX ix_dispute_evidence_file_id ON dispute_evidence (file_id) WHERE file_id IS NOT NULL;
COMMENT ON TABLE dispute_evidence IS 'What one side, or staff, shows in a dispute about an order; never changed. The decision is in the order''s history.';

CREATE TABLE notices (
    id UUID DEFAULT uuidv7() NOT NULL,
    user_id UUID NOT NULL,
    kind TEXT NOT NULL,
    subject_id UUID NOT NULL,
    title TEXT NOT NULL,
    path TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_notices PRIMARY KEY (id),
    CONSTRAINT ck_notices_kind_known CHECK (kind IN ('show_planned', 'show_started', 'evidence')),
    CONSTRAINT ck_notices_title_length CHECK (char_length(title) <= 300),
    CONSTRAINT ck_notices_path_length CHECK (char_length(path) <= 300),
    CONSTRAINT fk_notices_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_notices_user_id_kind_subject_id UNIQUE (user_id, kind, subject_id)
);
CREATE INDEX ix_notices_latest ON notices (user_id, at DESC, id DESC);
CREATE INDEX ix_notices_unread ON notices (user_id) WHERE read_at IS NULL;
CREATE INDEX ix_notices_at ON notices (at);
COMMENT ON TABLE notices IS 'What somebody is told within the store: once for each kind and subject, forgotten after some months.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dispute_evidence
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON dispute_evidence TO tradepost_app;
GRANT SELECT, INSERT, DELETE, UPDATE (read_at) ON notices TO tradepost_app;
GRANT SELECT ON dispute_evidence, notices TO tradepost_readonly;

-- Who may see an order may see what is shown about it; which of it is asked by the query.
ALTER TABLE dispute_evidence ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON dispute_evidence FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR EXISTS (SELECT FROM orders o WHERE o.id = order_id));
CREATE POLICY reporting ON dispute_evidence FOR SELECT TO tradepost_readonly USING (true);

ALTER TABLE notices ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON notices FOR ALL TO tradepost_app
    USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
CREATE POLICY reporting ON notices FOR SELECT TO tradepost_readonly USING (true);

SELECT audit_table('dispute_evidence');
