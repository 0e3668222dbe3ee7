-- A telephone number is proved by a code that was sent to it.

ALTER TABLE users
    ADD COLUMN phone_verified_at timestamptz,
    ADD CONSTRAINT ck_users_phone_verified_present CHECK (phone_verified_at IS NULL OR phone_index IS NOT NULL);
ALTER TABLE tokens
    DROP CONSTRAINT ck_tokens_kind_known,
    ADD CONSTRAINT ck_tokens_kind_known CHECK (kind IN ('api', 'access', 'refresh', 'email', 'reset', 'sign_in', 'change_old',
                                                        'change_new', 'reopen', 'second_step', 'phone'));

-- Another number is another proof, however it came there.
CREATE FUNCTION users_phone_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.phone_verified_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER phone_changed BEFORE UPDATE ON users FOR EACH ROW
    WHEN (OLD.phone_index IS DISTINCT FROM NEW.phone_index) EXECUTE FUNCTION users_phone_changed();

SELECT audit_anew();
