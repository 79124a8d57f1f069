-- Certificates are credentials of a CA, whose revocation list shows their ends. They have no entry in a status list.

-- +goose Up

ALTER TABLE credentials ADD COLUMN ca text COLLATE "C" NOT NULL DEFAULT '';
DROP INDEX credentials_status;
CREATE UNIQUE INDEX credentials_status ON credentials (status) WHERE status <> 0;
CREATE INDEX credentials_certificates ON credentials (domain, user_id) WHERE ca <> '';

-- The ends of certificates, without a person: they outlive the credentials of a removed user. The numbers are those of revocations.
CREATE TABLE certificate_ends (
    serial     text COLLATE "C" PRIMARY KEY,
    ca         text COLLATE "C" NOT NULL,
    n          bigint NOT NULL,
    reason     bigint NOT NULL, -- as in a revocation list (RFC 5280 §5.3.1)
    at         bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX certificate_ends_ca ON certificate_ends (ca, n);
CREATE INDEX certificate_ends_expires ON certificate_ends (expires_at);

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION end_credential() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1768751105, 1);
    IF NEW.ca <> '' THEN
        INSERT INTO certificate_ends (serial, ca, n, reason, at, expires_at)
            VALUES (NEW.id, NEW.ca, nextval('revocation_numbers'), CASE NEW.ended_reason
                WHEN 'keyCompromise' THEN 1 WHEN 'renamed' THEN 3 WHEN 'rekeyed' THEN 4 WHEN 'device_removed' THEN 5
                WHEN 'user_removed' THEN 5 WHEN 'user_disabled' THEN 9 ELSE 0 END,
                greatest(NEW.ended_at, NEW.handle_ended_at), NEW.expires_at)
            ON CONFLICT (serial) DO UPDATE SET n = excluded.n, reason = excluded.reason, at = excluded.at;
    ELSE
        INSERT INTO credential_ends (entry, list, n, handle_only, expires_at)
            VALUES (NEW.status, NEW.status >> 20, nextval('revocation_numbers'), NEW.ended_at = 0, NEW.expires_at)
            ON CONFLICT (entry) DO UPDATE SET n = excluded.n, handle_only = excluded.handle_only;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- A certificate hides nothing: it ends with the handle that it states.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION end_credential_handles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credentials SET handle_ended_at = greatest(issued_at, (SELECT newest FROM clock), 1),
        ended_at = CASE ca WHEN '' THEN 0 ELSE greatest(issued_at, (SELECT newest FROM clock), 1) END,
        ended_reason = CASE ca WHEN '' THEN '' ELSE 'renamed' END
        WHERE domain = NEW.domain AND user_id = NEW.id AND ended_at = 0 AND handle <> '' AND handle_ended_at = 0;
    RETURN NULL;
END $$;
-- +goose StatementEnd
