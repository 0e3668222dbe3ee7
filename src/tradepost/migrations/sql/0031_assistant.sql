-- Talks with the assistant: who talks, what is remembered between turns, and every turn as it was said.

CREATE TABLE assistant_talks (
    id UUID DEFAULT uuidv7() NOT NULL,
    user_id UUID,
    session_hash BYTEA,
    channel TEXT NOT NULL,
    state JSONB DEFAULT '{}' NOT NULL,
    turns INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    busy_until TIMESTAMP WITH TIME ZONE,
    handed_over_at TIMESTAMP WITH TIME ZONE,
    conversation_id UUID,
    CONSTRAINT pk_assistant_talks PRIMARY KEY (id),
    CONSTRAINT ck_assistant_talks_channel_known CHECK (channel IN ('web', 'api', 'mcp')),
    CONSTRAINT ck_assistant_talks_has_owner CHECK (user_id IS NOT NULL OR session_hash IS NOT NULL),
    CONSTRAINT fk_assistant_talks_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_assistant_talks_conversation_id FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE SET NULL
);
CREATE INDEX ix_assistant_talks_user_id ON assistant_talks (user_id, last_at DESC) WHERE user_id IS NOT NULL;
CREATE INDEX ix_assistant_talks_session_hash ON assistant_talks (session_hash, last_at DESC) WHERE user_id IS NULL;
CREATE INDEX ix_assistant_talks_expires_at ON assistant_talks (expires_at);
CREATE INDEX ix_assistant_talks_conversation_id ON assistant_talks (conversation_id) WHERE conversation_id IS NOT NULL;
COMMENT ON TABLE assistant_talks IS 'A talk with the assistant: a visitor''s by their session, a person''s once they sign in; `state` is what is remembered between turns.';

CREATE TABLE assistant_turns (
    talk_id UUID NOT NULL,
    seq INTEGER NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    asked TEXT NOT NULL,
    reply JSONB NOT NULL,
    intents TEXT[] DEFAULT '{}' NOT NULL,
    is_understood BOOLEAN NOT NULL,
    made_by TEXT NOT NULL,
    ms INTEGER NOT NULL,
    tokens INTEGER DEFAULT '0' NOT NULL,
    withheld INTEGER DEFAULT '0' NOT NULL,
    feedback SMALLINT,
    settled_at TIMESTAMP WITH TIME ZONE,
    settled_by UUID,
    CONSTRAINT pk_assistant_turns PRIMARY KEY (talk_id, seq),
    CONSTRAINT ck_assistant_turns_made_by_known CHECK (made_by IN ('engine', 'model')),
    CONSTRAINT ck_assistant_turns_asked_length CHECK (char_length(asked) <= 2000),
    CONSTRAINT ck_assistant_turns_thumb CHECK (feedback IN (-1, 1)),
    CONSTRAINT fk_assistant_turns_talk_id FOREIGN KEY(talk_id) REFERENCES assistant_talks (id) ON DELETE CASCADE
);
CREATE INDEX ix_assistant_turns_at ON assistant_turns (at);
CREATE INDEX ix_assistant_turns_unanswered ON assistant_turns (at DESC) WHERE NOT is_understood AND settled_at IS NULL;
COMMENT ON TABLE assistant_turns IS 'What was asked and answered, whole, with the results of tools that the answer rests on; `settled_at`: staff saw to a question that was not understood.';

GRANT SELECT, INSERT, UPDATE, DELETE ON assistant_talks TO tradepost_app;
GRANT SELECT, INSERT, DELETE, UPDATE (feedback, settled_at, settled_by) ON assistant_turns TO tradepost_app;

ALTER TABLE assistant_talks ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON assistant_talks FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()) OR (user_id IS NULL AND session_hash = (SELECT app_session())));
ALTER TABLE assistant_turns ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON assistant_turns FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR EXISTS (SELECT FROM assistant_talks t WHERE t.id = talk_id));
