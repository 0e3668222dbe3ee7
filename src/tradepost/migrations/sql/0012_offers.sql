-- Offers on the community feed, and the secret floor price of a listing.

CREATE TABLE offers (
    id UUID DEFAULT uuidv7() NOT NULL,
    listing_id UUID NOT NULL,
    variant_id UUID NOT NULL,
    buyer_id UUID NOT NULL,
    seller_id UUID NOT NULL,
    by TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency CHAR(3) NOT NULL,
    quantity NUMERIC(12, 3) NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    parent_id UUID,
    conversation_id UUID NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    held_until TIMESTAMP WITH TIME ZONE,
    order_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_offers PRIMARY KEY (id),
    CONSTRAINT ck_offers_by_known CHECK (by IN ('buyer', 'seller')),
    CONSTRAINT ck_offers_status_known CHECK (status IN ('pending', 'accepted', 'rejected', 'countered', 'expired', 'cancelled')),
    CONSTRAINT ck_offers_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT ck_offers_quantity_positive CHECK (quantity > 0),
    CONSTRAINT ck_offers_two_people CHECK (buyer_id <> seller_id),
    CONSTRAINT ck_offers_accepted_is_held CHECK ((status = 'accepted') <= (held_until IS NOT NULL)),
    CONSTRAINT ck_offers_ordered_was_accepted CHECK (order_id IS NULL OR status = 'accepted'),
    CONSTRAINT fk_offers_listing_id FOREIGN KEY(listing_id) REFERENCES listings (id) ON DELETE RESTRICT,
    CONSTRAINT fk_offers_variant_id FOREIGN KEY(variant_id) REFERENCES variants (id) ON DELETE RESTRICT,
    CONSTRAINT fk_offers_buyer_id FOREIGN KEY(buyer_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_offers_seller_id FOREIGN KEY(seller_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_offers_parent_id FOREIGN KEY(parent_id) REFERENCES offers (id) ON DELETE RESTRICT,
    CONSTRAINT fk_offers_conversation_id FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE RESTRICT,
    CONSTRAINT uq_offers_order_id UNIQUE (order_id)
);
CREATE INDEX ix_offers_buyer_id ON offers (buyer_id, created_at DESC);
CREATE INDEX ix_offers_conversation_id ON offers (conversation_id);
CREATE INDEX ix_offers_due ON offers (expires_at) WHERE status = 'pending';
CREATE INDEX ix_offers_held ON offers (held_until) WHERE status = 'accepted' AND order_id IS NULL;
CREATE INDEX ix_offers_listing_id ON offers (listing_id, status);
CREATE INDEX ix_offers_seller_id ON offers (seller_id, created_at DESC);
CREATE UNIQUE INDEX uq_offers_open ON offers (listing_id, buyer_id) WHERE status = 'pending';
COMMENT ON TABLE offers IS 'A price proposed for a listing by its buyer or, in answer, by its seller. One open for each buyer and listing. An accepted one holds stock under its own id until its order does.';

CREATE TABLE offer_floors (
    listing_id UUID NOT NULL,
    seller_id UUID NOT NULL,
    floor_minor BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_offer_floors PRIMARY KEY (listing_id),
    CONSTRAINT ck_offer_floors_floor_positive CHECK (floor_minor > 0),
    CONSTRAINT fk_offer_floors_listing_id FOREIGN KEY(listing_id) REFERENCES listings (id) ON DELETE CASCADE,
    CONSTRAINT fk_offer_floors_seller_id FOREIGN KEY(seller_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_offer_floors_seller_id ON offer_floors (seller_id);
COMMENT ON TABLE offer_floors IS 'The least a seller would take, which nobody else ever sees; offers below it are declined after a while.';

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON offers FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON offer_floors FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

GRANT SELECT, INSERT, UPDATE (status, held_until, order_id) ON offers TO tradepost_app;
GRANT SELECT, INSERT, DELETE, UPDATE (floor_minor) ON offer_floors TO tradepost_app;
GRANT SELECT ON offers TO tradepost_readonly;

ALTER TABLE offers ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON offers FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR buyer_id = (SELECT app_user_id()) OR seller_id = (SELECT app_user_id()));
CREATE POLICY reporting ON offers FOR SELECT TO tradepost_readonly USING (true);

-- Not even reports and staff read what a seller would take; only the job that declines does.
ALTER TABLE offer_floors ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON offer_floors FOR ALL TO tradepost_app
    USING (seller_id = (SELECT app_user_id()) OR current_setting('app.role', true) = 'system');
