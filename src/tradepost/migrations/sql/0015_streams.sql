-- Live shows: streams, what is pinned in them, their log; auctions with bids; giveaways. Offers may come from a show.

CREATE TABLE streams (
    id UUID DEFAULT uuidv7() NOT NULL,
    host_id UUID NOT NULL,
    title TEXT NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    category_id UUID NOT NULL,
    status TEXT DEFAULT 'scheduled' NOT NULL,
    scheduled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    thumbnail_file_id UUID,
    stream_url TEXT,
    recording_url TEXT,
    last_seq INTEGER DEFAULT '0' NOT NULL,
    views BIGINT DEFAULT '0' NOT NULL,
    likes BIGINT DEFAULT '0' NOT NULL,
    comments BIGINT DEFAULT '0' NOT NULL,
    shares BIGINT DEFAULT '0' NOT NULL,
    most_viewers INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_streams PRIMARY KEY (id),
    CONSTRAINT ck_streams_title_length CHECK (char_length(title) BETWEEN 1 AND 120),
    CONSTRAINT ck_streams_description_length CHECK (char_length(description) <= 2000),
    CONSTRAINT ck_streams_status_known CHECK (status IN ('scheduled', 'live', 'ended')),
    CONSTRAINT ck_streams_scheduled_has_not_started CHECK ((status = 'scheduled') <= (started_at IS NULL)),
    CONSTRAINT ck_streams_live_has_started CHECK ((status = 'live') <= (started_at IS NOT NULL AND ended_at IS NULL)),
    CONSTRAINT ck_streams_ended_has_ended CHECK ((status = 'ended') = (ended_at IS NOT NULL)),
    CONSTRAINT ck_streams_stream_url CHECK (stream_url ~ '^(https?://|/[^/])'),
    CONSTRAINT ck_streams_recording_url CHECK (recording_url ~ '^(https?://|/[^/])'),
    CONSTRAINT ck_streams_counts_not_negative CHECK (views >= 0 AND likes >= 0 AND comments >= 0 AND shares >= 0),
    CONSTRAINT fk_streams_host_id FOREIGN KEY(host_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_streams_category_id FOREIGN KEY(category_id) REFERENCES categories (id) ON DELETE RESTRICT,
    CONSTRAINT fk_streams_thumbnail_file_id FOREIGN KEY(thumbnail_file_id) REFERENCES files (id) ON DELETE RESTRICT
) WITH (fillfactor = 80);
CREATE INDEX ix_streams_category_id ON streams (category_id, scheduled_at DESC);
CREATE INDEX ix_streams_host_id ON streams (host_id, scheduled_at DESC);
CREATE INDEX ix_streams_status ON streams (status, scheduled_at DESC, id DESC);
CREATE INDEX ix_streams_thumbnail_file_id ON streams (thumbnail_file_id) WHERE thumbnail_file_id IS NOT NULL;
CREATE UNIQUE INDEX uq_streams_live ON streams (host_id) WHERE status = 'live';
COMMENT ON TABLE streams IS 'A live show: scheduled, live or ended; one that was called off ended without having started. One live for each host.';

CREATE TABLE stream_listings (
    stream_id UUID NOT NULL,
    position INTEGER NOT NULL,
    listing_id UUID NOT NULL,
    variant_id UUID NOT NULL,
    price_minor BIGINT,
    currency CHAR(3) NOT NULL,
    pinned_from TIMESTAMP WITH TIME ZONE,
    pinned_to TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stream_listings PRIMARY KEY (stream_id, position),
    CONSTRAINT ck_stream_listings_price_positive CHECK (price_minor > 0),
    CONSTRAINT ck_stream_listings_pinned_period CHECK (pinned_to >= pinned_from),
    CONSTRAINT ck_stream_listings_unpinned_was_pinned CHECK (pinned_to IS NULL OR pinned_from IS NOT NULL),
    CONSTRAINT fk_stream_listings_stream_id FOREIGN KEY(stream_id) REFERENCES streams (id) ON DELETE CASCADE,
    CONSTRAINT fk_stream_listings_listing_id FOREIGN KEY(listing_id) REFERENCES listings (id) ON DELETE RESTRICT,
    CONSTRAINT fk_stream_listings_variant_id FOREIGN KEY(variant_id) REFERENCES variants (id) ON DELETE RESTRICT
);
CREATE INDEX ix_stream_listings_listing_id ON stream_listings (listing_id);
CREATE INDEX ix_stream_listings_variant_id ON stream_listings (variant_id);
CREATE UNIQUE INDEX uq_stream_listings_open ON stream_listings (stream_id, variant_id) WHERE pinned_to IS NULL;
COMMENT ON TABLE stream_listings IS 'A listing on a show''s list: to come until `pinned_from`, shown until `pinned_to`. `price_minor`: what it costs during the show, null for its own price.';

CREATE TABLE stream_events (
    stream_id UUID NOT NULL,
    seq INTEGER DEFAULT '0' NOT NULL,
    kind TEXT NOT NULL,
    user_id UUID,
    body TEXT DEFAULT '' NOT NULL,
    data JSONB DEFAULT '{}' NOT NULL,
    nonce TEXT,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_stream_events PRIMARY KEY (stream_id, seq),
    CONSTRAINT uq_stream_events_stream_id_user_id_nonce UNIQUE (stream_id, user_id, nonce),
    CONSTRAINT ck_stream_events_kind_known CHECK (kind IN ('comment', 'removed', 'started', 'ended', 'pinned', 'unpinned', 'sold', 'auction', 'bid', 'hammer', 'giveaway', 'draw')),
    CONSTRAINT ck_stream_events_body_length CHECK (char_length(body) <= 500),
    CONSTRAINT ck_stream_events_nonce_length CHECK (char_length(nonce) <= 64),
    CONSTRAINT ck_stream_events_comment_has_writer CHECK (kind <> 'comment' OR user_id IS NOT NULL),
    CONSTRAINT ck_stream_events_removed_is_empty CHECK (removed_at IS NULL OR body = ''),
    CONSTRAINT fk_stream_events_stream_id FOREIGN KEY(stream_id) REFERENCES streams (id) ON DELETE CASCADE,
    CONSTRAINT fk_stream_events_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX ix_stream_events_user_id ON stream_events (user_id, at DESC) WHERE user_id IS NOT NULL;
COMMENT ON TABLE stream_events IS 'The log of a show: comments, pins, sales, bids, in the order they happened; a trigger numbers it.';

CREATE TABLE stream_likes (
    stream_id UUID NOT NULL,
    user_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stream_likes PRIMARY KEY (stream_id, user_id),
    CONSTRAINT fk_stream_likes_stream_id FOREIGN KEY(stream_id) REFERENCES streams (id) ON DELETE CASCADE,
    CONSTRAINT fk_stream_likes_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_stream_likes_user_id ON stream_likes (user_id);
COMMENT ON TABLE stream_likes IS 'Who likes a show; a trigger counts them.';

CREATE TABLE stream_mutes (
    stream_id UUID NOT NULL,
    user_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stream_mutes PRIMARY KEY (stream_id, user_id),
    CONSTRAINT fk_stream_mutes_stream_id FOREIGN KEY(stream_id) REFERENCES streams (id) ON DELETE CASCADE,
    CONSTRAINT fk_stream_mutes_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_stream_mutes_user_id ON stream_mutes (user_id);
COMMENT ON TABLE stream_mutes IS 'Whom a host lets say nothing more in a show.';

CREATE UNLOGGED TABLE stream_viewers (
    stream_id UUID NOT NULL,
    process TEXT NOT NULL,
    viewers INTEGER NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stream_viewers PRIMARY KEY (stream_id, process),
    CONSTRAINT ck_stream_viewers_viewers_not_negative CHECK (viewers >= 0),
    CONSTRAINT fk_stream_viewers_stream_id FOREIGN KEY(stream_id) REFERENCES streams (id) ON DELETE CASCADE
);
COMMENT ON TABLE stream_viewers IS 'How many watch a show through each process of the server; rows that are not renewed count no more.';

CREATE TABLE auctions (
    id UUID DEFAULT uuidv7() NOT NULL,
    stream_id UUID NOT NULL,
    position INTEGER NOT NULL,
    listing_id UUID NOT NULL,
    variant_id UUID NOT NULL,
    host_id UUID NOT NULL,
    currency CHAR(3) NOT NULL,
    quantity NUMERIC(12, 3) NOT NULL,
    starts_minor BIGINT NOT NULL,
    increment_minor BIGINT NOT NULL,
    reserve_minor BIGINT,
    soft_close_s INTEGER NOT NULL,
    opens_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closes_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    state TEXT DEFAULT 'open' NOT NULL,
    last_seq INTEGER DEFAULT '0' NOT NULL,
    price_minor BIGINT,
    leader_id UUID,
    offer_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_auctions PRIMARY KEY (id),
    CONSTRAINT fk_auctions_stream_id_position FOREIGN KEY(stream_id, position) REFERENCES stream_listings (stream_id, position),
    CONSTRAINT ck_auctions_state_known CHECK (state IN ('open', 'sold', 'unsold', 'cancelled')),
    CONSTRAINT ck_auctions_amounts_positive CHECK (starts_minor > 0 AND increment_minor > 0),
    CONSTRAINT ck_auctions_reserve_not_below_start CHECK (reserve_minor IS NULL OR reserve_minor >= starts_minor),
    CONSTRAINT ck_auctions_soft_close CHECK (soft_close_s BETWEEN 0 AND 300),
    CONSTRAINT ck_auctions_period CHECK (closes_at > opens_at),
    CONSTRAINT ck_auctions_host_does_not_bid CHECK (leader_id IS NULL OR leader_id <> host_id),
    CONSTRAINT ck_auctions_leader_has_price CHECK ((leader_id IS NULL) = (price_minor IS NULL)),
    CONSTRAINT ck_auctions_closed_is_dated CHECK ((state = 'open') = (closed_at IS NULL)),
    CONSTRAINT ck_auctions_sold_is_offered CHECK ((state = 'sold') = (offer_id IS NOT NULL)),
    CONSTRAINT fk_auctions_stream_id FOREIGN KEY(stream_id) REFERENCES streams (id) ON DELETE CASCADE,
    CONSTRAINT fk_auctions_listing_id FOREIGN KEY(listing_id) REFERENCES listings (id) ON DELETE RESTRICT,
    CONSTRAINT fk_auctions_variant_id FOREIGN KEY(variant_id) REFERENCES variants (id) ON DELETE RESTRICT,
    CONSTRAINT fk_auctions_host_id FOREIGN KEY(host_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_auctions_leader_id FOREIGN KEY(leader_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT uq_auctions_offer_id UNIQUE (offer_id)
) WITH (fillfactor = 70);
CREATE INDEX ix_auctions_due ON auctions (closes_at) WHERE state = 'open';
CREATE INDEX ix_auctions_host_id ON auctions (host_id);
CREATE INDEX ix_auctions_leader_id ON auctions (leader_id) WHERE leader_id IS NOT NULL;
CREATE INDEX ix_auctions_listing_id ON auctions (listing_id);
CREATE INDEX ix_auctions_stream_id ON auctions (stream_id, position);
CREATE INDEX ix_auctions_variant_id ON auctions (variant_id);
CREATE UNIQUE INDEX uq_auctions_open ON auctions (stream_id) WHERE state = 'open';
COMMENT ON TABLE auctions IS 'An auction on a pinned listing. It holds the goods under its own id while it is open; price and leader are what its bids, read in order, come to.';

CREATE TABLE bids (
    auction_id UUID NOT NULL,
    seq INTEGER NOT NULL,
    bidder_id UUID NOT NULL,
    max_minor BIGINT NOT NULL,
    price_minor BIGINT NOT NULL,
    leader_id UUID NOT NULL,
    nonce TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_bids PRIMARY KEY (auction_id, seq),
    CONSTRAINT uq_bids_auction_id_bidder_id_nonce UNIQUE (auction_id, bidder_id, nonce),
    CONSTRAINT ck_bids_seq_positive CHECK (seq > 0),
    CONSTRAINT ck_bids_amounts_positive CHECK (max_minor > 0 AND price_minor > 0),
    CONSTRAINT ck_bids_price_within_maximum CHECK (leader_id <> bidder_id OR price_minor <= max_minor),
    CONSTRAINT ck_bids_nonce_length CHECK (char_length(nonce) <= 64),
    CONSTRAINT fk_bids_auction_id FOREIGN KEY(auction_id) REFERENCES auctions (id) ON DELETE CASCADE,
    CONSTRAINT fk_bids_bidder_id FOREIGN KEY(bidder_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_bids_leader_id FOREIGN KEY(leader_id) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX ix_bids_bidder_id ON bids (bidder_id, at DESC);
CREATE INDEX ix_bids_leader_id ON bids (leader_id);
COMMENT ON TABLE bids IS 'One bid: the most its bidder would pay, which only they see, and what price and leader were after it.';

CREATE TABLE giveaways (
    id UUID DEFAULT uuidv7() NOT NULL,
    stream_id UUID NOT NULL,
    prize TEXT NOT NULL,
    commitment BYTEA NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    entries INTEGER DEFAULT '0' NOT NULL,
    drawn_at TIMESTAMP WITH TIME ZONE,
    seed BYTEA,
    winner_no INTEGER,
    winner_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_giveaways PRIMARY KEY (id),
    CONSTRAINT ck_giveaways_prize_length CHECK (char_length(prize) BETWEEN 1 AND 200),
    CONSTRAINT ck_giveaways_commitment_length CHECK (octet_length(commitment) = 32),
    CONSTRAINT ck_giveaways_state_known CHECK (state IN ('open', 'drawn')),
    CONSTRAINT ck_giveaways_drawn_is_revealed CHECK ((state = 'drawn') = (seed IS NOT NULL) AND (state = 'drawn') = (drawn_at IS NOT NULL)),
    CONSTRAINT ck_giveaways_seed_is_the_one_promised CHECK (seed IS NULL OR sha256(seed) = commitment),
    CONSTRAINT ck_giveaways_winner_has_number CHECK ((winner_no IS NULL) = (winner_id IS NULL)),
    CONSTRAINT fk_giveaways_stream_id FOREIGN KEY(stream_id) REFERENCES streams (id) ON DELETE CASCADE,
    CONSTRAINT fk_giveaways_winner_id FOREIGN KEY(winner_id) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX ix_giveaways_stream_id ON giveaways (stream_id);
CREATE INDEX ix_giveaways_winner_id ON giveaways (winner_id) WHERE winner_id IS NOT NULL;
CREATE UNIQUE INDEX uq_giveaways_open ON giveaways (stream_id) WHERE state = 'open';
COMMENT ON TABLE giveaways IS 'A giveaway: `commitment` is the SHA-256 of a seed that was drawn before the first entry and is shown after the last.';

CREATE TABLE giveaway_seeds (
    giveaway_id UUID NOT NULL,
    seed BYTEA NOT NULL,
    CONSTRAINT pk_giveaway_seeds PRIMARY KEY (giveaway_id),
    CONSTRAINT fk_giveaway_seeds_giveaway_id FOREIGN KEY(giveaway_id) REFERENCES giveaways (id) ON DELETE CASCADE
);
COMMENT ON TABLE giveaway_seeds IS 'The seed of an open giveaway, which nobody reads before the draw.';

CREATE TABLE giveaway_entries (
    giveaway_id UUID NOT NULL,
    entry_no INTEGER DEFAULT '0' NOT NULL,
    user_id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_giveaway_entries PRIMARY KEY (giveaway_id, entry_no),
    CONSTRAINT uq_giveaway_entries_giveaway_id_user_id UNIQUE (giveaway_id, user_id),
    CONSTRAINT fk_giveaway_entries_giveaway_id FOREIGN KEY(giveaway_id) REFERENCES giveaways (id) ON DELETE CASCADE,
    CONSTRAINT fk_giveaway_entries_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX ix_giveaway_entries_user_id ON giveaway_entries (user_id);
COMMENT ON TABLE giveaway_entries IS 'Who takes part in a giveaway, numbered from 1 by a trigger.';

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON streams FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON auctions FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- A fact of a show gets its number from the show's row, which stays locked until the commit: numbers follow commits, without gaps.
-- Rows that bring a number are an import's.
CREATE FUNCTION stream_events_number() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.seq = 0 THEN
        UPDATE streams SET last_seq = last_seq + 1, comments = comments + (NEW.kind = 'comment')::int
            WHERE id = NEW.stream_id RETURNING last_seq INTO NEW.seq;
        NEW.at = clock_timestamp();
    ELSE
        UPDATE streams SET last_seq = greatest(last_seq, NEW.seq), comments = comments + (NEW.kind = 'comment')::int
            WHERE id = NEW.stream_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER number_event BEFORE INSERT ON stream_events FOR EACH ROW EXECUTE FUNCTION stream_events_number();

CREATE FUNCTION stream_likes_count() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE streams SET likes = likes + 1 WHERE id = NEW.stream_id;
    ELSE
        UPDATE streams SET likes = likes - 1 WHERE id = OLD.stream_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_like AFTER INSERT OR DELETE ON stream_likes FOR EACH ROW EXECUTE FUNCTION stream_likes_count();

-- Whoever writes bids has locked their auction; none is written after its time, or by its host, by whatever way.
CREATE FUNCTION bids_in_time() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    sale auctions;
BEGIN
    SELECT * INTO sale FROM auctions WHERE id = NEW.auction_id;
    IF sale.state <> 'open' OR NEW.at >= sale.closes_at OR NEW.at < sale.opens_at THEN
        RAISE EXCEPTION 'the auction is not open' USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_bids_in_time';
    END IF;
    IF NEW.bidder_id = sale.host_id THEN
        RAISE EXCEPTION 'a host does not bid' USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_bids_not_by_host';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_bid BEFORE INSERT ON bids FOR EACH ROW EXECUTE FUNCTION bids_in_time();

CREATE FUNCTION giveaway_entries_number() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE giveaways SET entries = entries + 1 WHERE id = NEW.giveaway_id AND state = 'open' RETURNING entries INTO NEW.entry_no;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the giveaway is over' USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_giveaway_entries_open';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER number_entry BEFORE INSERT ON giveaway_entries FOR EACH ROW EXECUTE FUNCTION giveaway_entries_number();

REVOKE ALL ON FUNCTION stream_events_number(), stream_likes_count(), bids_in_time(), giveaway_entries_number() FROM PUBLIC;

-- What is agreed on in a show is an offer that was accepted from the start; it needs no conversation.
ALTER TABLE offers ADD COLUMN origin text DEFAULT 'haggle' NOT NULL, ALTER COLUMN conversation_id DROP NOT NULL;
ALTER TABLE offers ADD CONSTRAINT ck_offers_origin_known CHECK (origin IN ('haggle', 'show', 'auction'));
ALTER TABLE offers ADD CONSTRAINT ck_offers_haggled_in_conversation CHECK (origin <> 'haggle' OR conversation_id IS NOT NULL);

GRANT SELECT, INSERT, DELETE ON stream_likes, stream_mutes TO tradepost_app;
GRANT SELECT, INSERT, UPDATE (title, description, category_id, status, scheduled_at, started_at, ended_at, thumbnail_file_id, stream_url,
    recording_url, views, shares, most_viewers) ON streams TO tradepost_app;
GRANT SELECT, INSERT, DELETE, UPDATE (price_minor, pinned_from, pinned_to) ON stream_listings TO tradepost_app;
GRANT SELECT, INSERT, UPDATE (body, removed_at) ON stream_events TO tradepost_app;
GRANT SELECT, INSERT, DELETE, UPDATE (viewers, seen_at) ON stream_viewers TO tradepost_app;
GRANT SELECT, INSERT, UPDATE (closes_at, closed_at, state, last_seq, price_minor, leader_id, offer_id) ON auctions TO tradepost_app;
GRANT SELECT, INSERT ON bids, giveaway_entries TO tradepost_app;
GRANT SELECT, INSERT, UPDATE (state, drawn_at, seed, winner_no, winner_id) ON giveaways TO tradepost_app;
GRANT SELECT, INSERT, DELETE ON giveaway_seeds TO tradepost_app;
GRANT SELECT ON streams, stream_listings, stream_events, stream_likes, stream_viewers, giveaways, giveaway_entries TO tradepost_readonly;
GRANT SELECT (id, stream_id, position, listing_id, variant_id, host_id, currency, quantity, starts_minor, increment_minor, soft_close_s,
    opens_at, closes_at, closed_at, state, last_seq, price_minor, leader_id, offer_id, created_at) ON auctions TO tradepost_readonly;
GRANT SELECT (auction_id, seq, bidder_id, price_minor, leader_id, at) ON bids TO tradepost_readonly;

-- What somebody would pay at most is theirs until somebody else pays more; only the auction itself compares.
ALTER TABLE bids ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON bids FOR ALL TO tradepost_app
    USING (bidder_id = (SELECT app_user_id()) OR current_setting('app.role', true) = 'system');
CREATE POLICY reporting ON bids FOR SELECT TO tradepost_readonly USING (true);

ALTER TABLE giveaway_seeds ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON giveaway_seeds FOR ALL TO tradepost_app USING (current_setting('app.role', true) = 'system');

ALTER TABLE stream_mutes ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON stream_mutes FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR EXISTS (SELECT FROM streams s WHERE s.id = stream_id AND s.host_id = (SELECT app_user_id())));
