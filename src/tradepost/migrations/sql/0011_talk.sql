-- People talk: conversations, who takes part, numbered messages.

CREATE TABLE conversations (
    id UUID DEFAULT uuidv7() NOT NULL,
    people UUID[] NOT NULL,
    started_by UUID NOT NULL,
    listing_id UUID,
    order_id UUID,
    subject TEXT DEFAULT '' NOT NULL,
    about TEXT,
    last_seq INTEGER DEFAULT '0' NOT NULL,
    last_message_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_conversations PRIMARY KEY (id),
    CONSTRAINT ck_conversations_subject_length CHECK (char_length(subject) <= 255),
    CONSTRAINT ck_conversations_people_count CHECK (cardinality(people) BETWEEN 2 AND 20),
    CONSTRAINT ck_conversations_starter_takes_part CHECK (started_by = ANY (people)),
    CONSTRAINT ck_conversations_last_seq_not_negative CHECK (last_seq >= 0),
    CONSTRAINT fk_conversations_started_by FOREIGN KEY(started_by) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_conversations_listing_id FOREIGN KEY(listing_id) REFERENCES listings (id) ON DELETE RESTRICT,
    CONSTRAINT fk_conversations_order_id FOREIGN KEY(order_id) REFERENCES orders (id) ON DELETE RESTRICT,
    CONSTRAINT uq_conversations_about UNIQUE (about)
);
CREATE INDEX ix_conversations_listing_id ON conversations (listing_id) WHERE listing_id IS NOT NULL;
CREATE INDEX ix_conversations_order_id ON conversations (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX ix_conversations_people ON conversations USING gin (people);
CREATE INDEX ix_conversations_started_by ON conversations (started_by, created_at DESC);
COMMENT ON TABLE conversations IS 'A conversation about a listing, an order or nothing. Its last message is number `last_seq`. `about` is there once for two people and one thing.';

CREATE TABLE participants (
    conversation_id UUID NOT NULL,
    user_id UUID NOT NULL,
    last_seq INTEGER DEFAULT '0' NOT NULL,
    last_message_at TIMESTAMP WITH TIME ZONE,
    last_read_seq INTEGER DEFAULT '0' NOT NULL,
    last_read_at TIMESTAMP WITH TIME ZONE,
    unread INTEGER GENERATED ALWAYS AS (last_seq - last_read_seq) STORED NOT NULL,
    archived_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_participants PRIMARY KEY (conversation_id, user_id),
    CONSTRAINT ck_participants_read_what_is_there CHECK (last_read_seq BETWEEN 0 AND last_seq),
    CONSTRAINT fk_participants_conversation_id FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT fk_participants_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT
)
 WITH (fillfactor = 80);
CREATE INDEX ix_participants_inbox ON participants (user_id, last_message_at DESC, conversation_id DESC) WHERE last_message_at IS NOT NULL;
CREATE INDEX ix_participants_unread ON participants (user_id) WHERE unread > 0 AND archived_at IS NULL;
COMMENT ON TABLE participants IS 'Somebody in a conversation, with how far they have read. A trigger on conversations makes the rows, one on messages moves `last_seq`.';

CREATE TABLE messages (
    conversation_id UUID NOT NULL,
    seq INTEGER DEFAULT '0' NOT NULL,
    id UUID DEFAULT uuidv7() NOT NULL,
    sender_id UUID,
    kind TEXT DEFAULT 'text' NOT NULL,
    body TEXT DEFAULT '' NOT NULL,
    file_id UUID,
    offer_id UUID,
    nonce TEXT,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    edited_at TIMESTAMP WITH TIME ZONE,
    deleted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_messages PRIMARY KEY (conversation_id, seq),
    CONSTRAINT uq_messages_conversation_id_sender_id_nonce UNIQUE (conversation_id, sender_id, nonce),
    CONSTRAINT ck_messages_kind_known CHECK (kind IN ('text', 'image', 'offer', 'system')),
    CONSTRAINT ck_messages_body_length CHECK (char_length(body) <= 4000),
    CONSTRAINT ck_messages_nonce_length CHECK (char_length(nonce) <= 64),
    CONSTRAINT ck_messages_system_has_no_sender CHECK ((kind = 'system') = (sender_id IS NULL)),
    CONSTRAINT ck_messages_offer_is_named CHECK ((kind = 'offer') = (offer_id IS NOT NULL)),
    CONSTRAINT ck_messages_deleted_is_empty CHECK (deleted_at IS NULL OR (body = '' AND file_id IS NULL)),
    CONSTRAINT ck_messages_image_is_there CHECK (kind <> 'image' OR file_id IS NOT NULL OR deleted_at IS NOT NULL),
    CONSTRAINT ck_messages_text_says_something CHECK (kind <> 'text' OR body <> '' OR deleted_at IS NOT NULL),
    CONSTRAINT fk_messages_conversation_id FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT uq_messages_id UNIQUE (id),
    CONSTRAINT fk_messages_sender_id FOREIGN KEY(sender_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_messages_file_id FOREIGN KEY(file_id) REFERENCES files (id) ON DELETE RESTRICT
);
CREATE INDEX ix_messages_file_id ON messages (file_id) WHERE file_id IS NOT NULL;
CREATE INDEX ix_messages_offer_id ON messages (offer_id) WHERE offer_id IS NOT NULL;
CREATE INDEX ix_messages_sender_id ON messages (sender_id, at DESC);
COMMENT ON TABLE messages IS 'One message; a trigger numbers it within its conversation. `nonce` is the sender''s own mark, so that sending again sends nothing twice.';

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- Whoever is in `people` takes part: the array is what row-level security asks, the rows say how far each has read.
CREATE FUNCTION conversations_people() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO participants (conversation_id, user_id, last_seq, last_read_seq)
        SELECT NEW.id, person, NEW.last_seq, NEW.last_seq FROM unnest(NEW.people) AS person
        ON CONFLICT (conversation_id, user_id) DO NOTHING;
    DELETE FROM participants WHERE conversation_id = NEW.id AND user_id <> ALL (NEW.people);
    RETURN NULL;
END $$;
CREATE TRIGGER keep_participants AFTER INSERT OR UPDATE OF people ON conversations
    FOR EACH ROW EXECUTE FUNCTION conversations_people();

-- A message gets its number from the conversation's row, which stays locked until the commit: numbers follow commits, without gaps.
-- Whoever writes has read what was there. Rows that bring a number are an import's.
CREATE FUNCTION messages_number() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- Between two people of whom one has blocked the other nothing is written, by whatever way.
    IF NEW.seq = 0 AND NEW.sender_id IS NOT NULL AND EXISTS (
        SELECT FROM conversations c CROSS JOIN LATERAL unnest(c.people) AS other
        JOIN blocks b ON (b.user_id, b.blocked_id) IN ((other, NEW.sender_id), (NEW.sender_id, other))
        WHERE c.id = NEW.conversation_id AND cardinality(c.people) = 2
    ) THEN
        RAISE EXCEPTION 'one of the two has blocked the other'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_messages_not_blocked';
    END IF;
    IF NEW.seq = 0 THEN
        UPDATE conversations SET last_seq = last_seq + 1, last_message_at = clock_timestamp()
            WHERE id = NEW.conversation_id RETURNING last_seq, last_message_at INTO NEW.seq, NEW.at;
    ELSE
        UPDATE conversations SET last_seq = greatest(last_seq, NEW.seq), last_message_at = greatest(last_message_at, NEW.at)
            WHERE id = NEW.conversation_id;
    END IF;
    UPDATE participants SET
        last_seq = greatest(last_seq, NEW.seq), last_message_at = greatest(last_message_at, NEW.at), archived_at = NULL,
        last_read_seq = CASE WHEN user_id = NEW.sender_id THEN greatest(last_read_seq, NEW.seq) ELSE last_read_seq END,
        last_read_at = CASE WHEN user_id = NEW.sender_id THEN NEW.at ELSE last_read_at END
        WHERE conversation_id = NEW.conversation_id;
    RETURN NEW;
END $$;
CREATE TRIGGER number_message BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION messages_number();

REVOKE ALL ON FUNCTION conversations_people(), messages_number() FROM PUBLIC;

-- Counts and numbers belong to the triggers.
GRANT SELECT, INSERT (id, people, started_by, listing_id, order_id, subject, about) ON conversations TO tradepost_app;
GRANT SELECT, UPDATE (last_read_seq, last_read_at, archived_at) ON participants TO tradepost_app;
GRANT SELECT, INSERT (conversation_id, id, sender_id, kind, body, file_id, offer_id, nonce),
    UPDATE (body, file_id, edited_at, deleted_at) ON messages TO tradepost_app;
GRANT SELECT ON conversations, participants TO tradepost_readonly;
GRANT SELECT (conversation_id, seq, id, sender_id, kind, offer_id, at, edited_at, deleted_at) ON messages TO tradepost_readonly;

ALTER TABLE conversations ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON conversations FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR (SELECT app_user_id()) = ANY (people));
CREATE POLICY reporting ON conversations FOR SELECT TO tradepost_readonly USING (true);

-- Everybody in a conversation sees who else is and how far they have read; one's own row is one's own to change.
ALTER TABLE participants ENABLE ROW LEVEL SECURITY;
CREATE POLICY reading ON participants FOR SELECT TO tradepost_app
    USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all())
           OR EXISTS (SELECT FROM conversations c WHERE c.id = conversation_id));
CREATE POLICY changing ON participants FOR UPDATE TO tradepost_app
    USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
CREATE POLICY reporting ON participants FOR SELECT TO tradepost_readonly USING (true);

ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY reading ON messages FOR SELECT TO tradepost_app
    USING ((SELECT app_sees_all()) OR EXISTS (SELECT FROM conversations c WHERE c.id = conversation_id));
CREATE POLICY writing ON messages FOR INSERT TO tradepost_app
    WITH CHECK ((SELECT app_sees_all())
                OR (sender_id = (SELECT app_user_id()) AND EXISTS (SELECT FROM conversations c WHERE c.id = conversation_id)));
CREATE POLICY changing ON messages FOR UPDATE TO tradepost_app
    USING ((SELECT app_sees_all()) OR sender_id = (SELECT app_user_id()));
CREATE POLICY reporting ON messages FOR SELECT TO tradepost_readonly USING (true);
