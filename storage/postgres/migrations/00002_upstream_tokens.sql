-- Refresh tokens of logins at OpenID providers, sealed. What came from such a login names its token; the token is deleted with the last
-- of that. A refresh of a grant changes no column of its index, and does not come to its trigger. Transactions are serializable, so of
-- two that delete the last ones at once, one runs again and sees the other.

-- +goose Up

CREATE TABLE upstream_tokens (
    id         text COLLATE "C" PRIMARY KEY,
    domain     text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    provider   text COLLATE "C" NOT NULL,
    sealed     bytea,
    state      bigint NOT NULL,
    number     bigint NOT NULL,
    created_at bigint NOT NULL,
    checked_at bigint NOT NULL,
    retry_at   bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX upstream_tokens_user ON upstream_tokens (domain, user_id);

ALTER TABLE grants ADD COLUMN upstream_token text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE codes ADD COLUMN upstream_token text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE device_codes ADD COLUMN upstream_token text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE browser_sessions ADD COLUMN upstream_token text COLLATE "C" NOT NULL DEFAULT '';

CREATE INDEX grants_upstream_token ON grants (upstream_token) WHERE upstream_token <> '' AND ended_at = 0;
CREATE INDEX codes_upstream_token ON codes (upstream_token) WHERE upstream_token <> '' AND spent_at = 0;
CREATE INDEX device_codes_upstream_token ON device_codes (upstream_token) WHERE upstream_token <> '' AND spent_at = 0;
CREATE INDEX browser_sessions_upstream_token ON browser_sessions (upstream_token) WHERE upstream_token <> '';

-- +goose StatementBegin
CREATE FUNCTION drop_upstream_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM upstream_tokens WHERE id = OLD.upstream_token
        AND NOT EXISTS (SELECT 1 FROM grants WHERE upstream_token = OLD.upstream_token AND upstream_token <> '' AND ended_at = 0)
        AND NOT EXISTS (SELECT 1 FROM codes WHERE upstream_token = OLD.upstream_token AND upstream_token <> '' AND spent_at = 0)
        AND NOT EXISTS (SELECT 1 FROM device_codes WHERE upstream_token = OLD.upstream_token AND upstream_token <> '' AND spent_at = 0)
        AND NOT EXISTS (SELECT 1 FROM browser_sessions WHERE upstream_token = OLD.upstream_token AND upstream_token <> '');
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER grants_upstream_token_ended AFTER UPDATE OF ended_at ON grants FOR EACH ROW
    WHEN (OLD.upstream_token <> '' AND NEW.ended_at <> 0) EXECUTE FUNCTION drop_upstream_token();
CREATE TRIGGER grants_upstream_token_deleted AFTER DELETE ON grants FOR EACH ROW
    WHEN (OLD.upstream_token <> '') EXECUTE FUNCTION drop_upstream_token();
CREATE TRIGGER codes_upstream_token_deleted AFTER DELETE ON codes FOR EACH ROW
    WHEN (OLD.upstream_token <> '') EXECUTE FUNCTION drop_upstream_token();
CREATE TRIGGER device_codes_upstream_token_deleted AFTER DELETE ON device_codes FOR EACH ROW
    WHEN (OLD.upstream_token <> '') EXECUTE FUNCTION drop_upstream_token();
CREATE TRIGGER browser_sessions_upstream_token_deleted AFTER DELETE ON browser_sessions FOR EACH ROW
    WHEN (OLD.upstream_token <> '') EXECUTE FUNCTION drop_upstream_token();
