-- Certificates are credentials of a CA, whose revocation list shows their ends. They have no entry in a status list.

-- +goose Up

ALTER TABLE credentials ADD COLUMN ca TEXT NOT NULL DEFAULT '';
DROP INDEX credentials_status;
CREATE UNIQUE INDEX credentials_status ON credentials (status) WHERE status <> 0;
CREATE INDEX credentials_certificates ON credentials (domain, user_id) WHERE ca <> '';

-- The ends of certificates, without a person: they outlive the credentials of a removed user. The numbers are those of revocations.
CREATE TABLE certificate_ends (
    serial     TEXT PRIMARY KEY,
    ca         TEXT NOT NULL,
    n          INTEGER NOT NULL,
    reason     INTEGER NOT NULL, -- as in a revocation list (RFC 5280 §5.3.1)
    at         INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX certificate_ends_ca ON certificate_ends (ca, n);
CREATE INDEX certificate_ends_expires ON certificate_ends (expires_at);

DROP TRIGGER credentials_ended;
-- +goose StatementBegin
CREATE TRIGGER credentials_ended AFTER UPDATE OF ended_at, handle_ended_at ON credentials
    WHEN OLD.ended_at = 0 AND (NEW.ended_at <> 0 OR OLD.handle_ended_at = 0 AND NEW.handle_ended_at <> 0)
BEGIN
    INSERT INTO sqlite_sequence (name, seq) SELECT 'revocations', 0
        WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'revocations');
    UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'revocations';
    INSERT OR REPLACE INTO credential_ends (entry, list, n, handle_only, expires_at)
        SELECT NEW.status, NEW.status >> 20, seq, NEW.ended_at = 0, NEW.expires_at FROM sqlite_sequence
        WHERE name = 'revocations' AND NEW.status <> 0;
    INSERT OR REPLACE INTO certificate_ends (serial, ca, n, reason, at, expires_at)
        SELECT NEW.id, NEW.ca, seq, CASE NEW.ended_reason
            WHEN 'keyCompromise' THEN 1 WHEN 'renamed' THEN 3 WHEN 'rekeyed' THEN 4 WHEN 'device_removed' THEN 5
            WHEN 'user_removed' THEN 5 WHEN 'user_disabled' THEN 9 ELSE 0 END, max(NEW.ended_at, NEW.handle_ended_at), NEW.expires_at
        FROM sqlite_sequence WHERE name = 'revocations' AND NEW.ca <> '';
END;
-- +goose StatementEnd

-- A certificate hides nothing: it ends with the handle that it states.
DROP TRIGGER users_credential_handles;
-- +goose StatementBegin
CREATE TRIGGER users_credential_handles AFTER UPDATE OF handle ON users WHEN OLD.handle <> NEW.handle
BEGIN
    UPDATE credentials SET handle_ended_at = max(issued_at, ifnull((SELECT newest FROM clock), issued_at), 1),
        ended_at = CASE ca WHEN '' THEN 0 ELSE max(issued_at, ifnull((SELECT newest FROM clock), issued_at), 1) END,
        ended_reason = CASE ca WHEN '' THEN '' ELSE 'renamed' END
        WHERE domain = NEW.domain AND user_id = NEW.id AND ended_at = 0 AND handle <> '' AND handle_ended_at = 0;
END;
-- +goose StatementEnd
