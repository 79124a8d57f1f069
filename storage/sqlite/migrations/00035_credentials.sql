-- Lasting credentials of devices. Their lists are in a table of their own: a release that does not know them would give their entries to
-- sessions, and would publish them as valid.

-- +goose Up

CREATE TABLE credential_lists (
    id         INTEGER PRIMARY KEY, -- random
    domain     TEXT NOT NULL,
    seed       BLOB NOT NULL,
    size       INTEGER NOT NULL,
    available  INTEGER NOT NULL,
    used       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE credentials (
    id              TEXT PRIMARY KEY,
    domain          TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    device_id       TEXT NOT NULL,
    format          TEXT NOT NULL,
    jkt             TEXT NOT NULL,
    handle          TEXT NOT NULL,
    status          INTEGER NOT NULL,
    issued_at       INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    ended_at        INTEGER NOT NULL,
    ended_reason    TEXT NOT NULL,
    handle_ended_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX credentials_status ON credentials (status);
CREATE INDEX credentials_domain ON credentials (domain, id);
CREATE INDEX credentials_user ON credentials (domain, user_id, id);
CREATE INDEX credentials_device ON credentials (domain, device_id, format) WHERE ended_at = 0;
CREATE INDEX credentials_key ON credentials (domain, jkt) WHERE ended_at = 0;
CREATE INDEX credentials_expires ON credentials (expires_at);

-- The ends of credentials and of their handles, without a person: they outlive the credentials of a removed user. The numbers are those of
-- revocations, so a reader of a list reads on where it was.
CREATE TABLE credential_ends (
    entry       INTEGER PRIMARY KEY,
    list        INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    handle_only INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX credential_ends_list ON credential_ends (list, n);
CREATE INDEX credential_ends_expires ON credential_ends (expires_at);

-- However a credential ends, its entry does.
-- +goose StatementBegin
CREATE TRIGGER credentials_ended AFTER UPDATE OF ended_at, handle_ended_at ON credentials
    WHEN OLD.ended_at = 0 AND (NEW.ended_at <> 0 OR OLD.handle_ended_at = 0 AND NEW.handle_ended_at <> 0)
BEGIN
    INSERT INTO sqlite_sequence (name, seq) SELECT 'revocations', 0
        WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'revocations');
    UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'revocations';
    INSERT OR REPLACE INTO credential_ends (entry, list, n, handle_only, expires_at)
        SELECT NEW.status, NEW.status >> 20, seq, NEW.ended_at = 0, NEW.expires_at FROM sqlite_sequence WHERE name = 'revocations';
END;
-- +goose StatementEnd

-- It ends with its device, key and user, also where a release does so that knows no credentials.
-- +goose StatementBegin
CREATE TRIGGER devices_credentials AFTER UPDATE OF removed_at ON devices WHEN OLD.removed_at = 0 AND NEW.removed_at <> 0
BEGIN
    UPDATE credentials SET ended_at = NEW.removed_at, ended_reason = 'device_removed'
        WHERE domain = NEW.domain AND device_id = NEW.id AND ended_at = 0;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER rekeys_credentials AFTER INSERT ON rekeys
BEGIN
    UPDATE credentials SET ended_at = NEW.at, ended_reason = 'rekeyed'
        WHERE domain = NEW.domain AND device_id = NEW.device_id AND ended_at = 0;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER users_credentials AFTER UPDATE OF disabled_at ON users WHEN OLD.disabled_at = 0 AND NEW.disabled_at <> 0
BEGIN
    UPDATE credentials SET ended_at = NEW.disabled_at, ended_reason = 'user_disabled'
        WHERE domain = NEW.domain AND user_id = NEW.id AND ended_at = 0;
END;
-- +goose StatementEnd
-- The time is about right: a user has none for the handle.
-- +goose StatementBegin
CREATE TRIGGER users_credential_handles AFTER UPDATE OF handle ON users WHEN OLD.handle <> NEW.handle
BEGIN
    UPDATE credentials SET handle_ended_at = max(issued_at, ifnull((SELECT newest FROM clock), issued_at), 1)
        WHERE domain = NEW.domain AND user_id = NEW.id AND ended_at = 0 AND handle <> '' AND handle_ended_at = 0;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER removals_credentials AFTER INSERT ON removals
BEGIN
    UPDATE credentials SET ended_at = NEW.at, ended_reason = 'user_removed'
        WHERE domain = NEW.domain AND user_id = NEW.user_id AND ended_at = 0;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER removals_credentials_gone AFTER DELETE ON removals
BEGIN
    DELETE FROM credentials WHERE domain = OLD.domain AND user_id = OLD.user_id;
END;
-- +goose StatementEnd
