-- Refresh tokens of logins at OpenID providers, sealed. What came from such a login names its token; the token is deleted with the last
-- of that. A refresh of a grant changes no column of its index, and does not come to its trigger.

-- +goose Up

CREATE TABLE upstream_tokens (
    id         TEXT PRIMARY KEY,
    domain     TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    provider   TEXT NOT NULL,
    sealed     BLOB,
    state      INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    retry_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX upstream_tokens_user ON upstream_tokens (domain, user_id);

ALTER TABLE grants ADD COLUMN upstream_token TEXT NOT NULL DEFAULT '';
ALTER TABLE codes ADD COLUMN upstream_token TEXT NOT NULL DEFAULT '';
ALTER TABLE device_codes ADD COLUMN upstream_token TEXT NOT NULL DEFAULT '';
ALTER TABLE browser_sessions ADD COLUMN upstream_token TEXT NOT NULL DEFAULT '';

CREATE INDEX grants_upstream_token ON grants (upstream_token) WHERE upstream_token <> '' AND ended_at = 0;
CREATE INDEX codes_upstream_token ON codes (upstream_token) WHERE upstream_token <> '' AND spent_at = 0;
CREATE INDEX device_codes_upstream_token ON device_codes (upstream_token) WHERE upstream_token <> '' AND spent_at = 0;
CREATE INDEX browser_sessions_upstream_token ON browser_sessions (upstream_token) WHERE upstream_token <> '';

-- What still names a token.
CREATE VIEW upstream_token_uses AS
    SELECT upstream_token FROM grants WHERE upstream_token <> '' AND ended_at = 0
    UNION ALL SELECT upstream_token FROM codes WHERE upstream_token <> '' AND spent_at = 0
    UNION ALL SELECT upstream_token FROM device_codes WHERE upstream_token <> '' AND spent_at = 0
    UNION ALL SELECT upstream_token FROM browser_sessions WHERE upstream_token <> '';

-- +goose StatementBegin
CREATE TRIGGER grants_upstream_token_ended AFTER UPDATE OF ended_at ON grants WHEN NEW.upstream_token <> '' AND NEW.ended_at <> 0
BEGIN
    DELETE FROM upstream_tokens WHERE id = NEW.upstream_token
        AND NOT EXISTS (SELECT 1 FROM upstream_token_uses WHERE upstream_token = NEW.upstream_token);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER grants_upstream_token_deleted AFTER DELETE ON grants WHEN OLD.upstream_token <> ''
BEGIN
    DELETE FROM upstream_tokens WHERE id = OLD.upstream_token
        AND NOT EXISTS (SELECT 1 FROM upstream_token_uses WHERE upstream_token = OLD.upstream_token);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER codes_upstream_token_deleted AFTER DELETE ON codes WHEN OLD.upstream_token <> ''
BEGIN
    DELETE FROM upstream_tokens WHERE id = OLD.upstream_token
        AND NOT EXISTS (SELECT 1 FROM upstream_token_uses WHERE upstream_token = OLD.upstream_token);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER device_codes_upstream_token_deleted AFTER DELETE ON device_codes WHEN OLD.upstream_token <> ''
BEGIN
    DELETE FROM upstream_tokens WHERE id = OLD.upstream_token
        AND NOT EXISTS (SELECT 1 FROM upstream_token_uses WHERE upstream_token = OLD.upstream_token);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER browser_sessions_upstream_token_deleted AFTER DELETE ON browser_sessions WHEN OLD.upstream_token <> ''
BEGIN
    DELETE FROM upstream_tokens WHERE id = OLD.upstream_token
        AND NOT EXISTS (SELECT 1 FROM upstream_token_uses WHERE upstream_token = OLD.upstream_token);
END;
-- +goose StatementEnd
