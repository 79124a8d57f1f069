-- Lasting credentials of devices. Their lists are in a table of their own: a release that does not know them would give their entries to
-- sessions, and would publish them as valid.

-- +goose Up

CREATE TABLE credential_lists (
    id         bigint PRIMARY KEY, -- random
    domain     text COLLATE "C" NOT NULL,
    seed       bytea NOT NULL,
    size       bigint NOT NULL,
    available  bigint NOT NULL,
    used       bigint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    ended_at   bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE credentials (
    id              text COLLATE "C" PRIMARY KEY,
    domain          text COLLATE "C" NOT NULL,
    user_id         text COLLATE "C" NOT NULL,
    device_id       text COLLATE "C" NOT NULL,
    format          text COLLATE "C" NOT NULL,
    jkt             text COLLATE "C" NOT NULL,
    handle          text COLLATE "C" NOT NULL,
    status          bigint NOT NULL,
    issued_at       bigint NOT NULL,
    expires_at      bigint NOT NULL,
    ended_at        bigint NOT NULL,
    ended_reason    text COLLATE "C" NOT NULL,
    handle_ended_at bigint NOT NULL
);
CREATE UNIQUE INDEX credentials_status ON credentials (status);
CREATE INDEX credentials_domain ON credentials (domain, id);
CREATE INDEX credentials_user ON credentials (domain, user_id, id);
CREATE INDEX credentials_device ON credentials (domain, device_id, format) WHERE ended_at = 0;
CREATE INDEX credentials_key ON credentials (domain, jkt) WHERE ended_at = 0;
CREATE INDEX credentials_expires ON credentials (expires_at);

-- The ends of credentials and of their handles, without a person: they outlive the credentials of a removed user. The numbers are those of
-- revocations, given under the same lock, so a reader of a list reads on where it was, also on another server.
CREATE TABLE credential_ends (
    entry       bigint PRIMARY KEY,
    list        bigint NOT NULL,
    n           bigint NOT NULL,
    handle_only boolean NOT NULL,
    expires_at  bigint NOT NULL
);
CREATE INDEX credential_ends_list ON credential_ends (list, n);
CREATE INDEX credential_ends_expires ON credential_ends (expires_at);

-- However a credential ends, its entry does.
-- +goose StatementBegin
CREATE FUNCTION end_credential() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1768751105, 1);
    INSERT INTO credential_ends (entry, list, n, handle_only, expires_at)
        VALUES (NEW.status, NEW.status >> 20, nextval('revocation_numbers'), NEW.ended_at = 0, NEW.expires_at)
        ON CONFLICT (entry) DO UPDATE SET n = excluded.n, handle_only = excluded.handle_only;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER credentials_ended AFTER UPDATE OF ended_at, handle_ended_at ON credentials FOR EACH ROW
    WHEN (OLD.ended_at = 0 AND (NEW.ended_at <> 0 OR OLD.handle_ended_at = 0 AND NEW.handle_ended_at <> 0))
    EXECUTE FUNCTION end_credential();

-- It ends with its device, key and user, also where a release does so that knows no credentials.
-- +goose StatementBegin
CREATE FUNCTION end_device_credentials() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credentials SET ended_at = NEW.removed_at, ended_reason = 'device_removed'
        WHERE domain = NEW.domain AND device_id = NEW.id AND ended_at = 0;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER devices_credentials AFTER UPDATE OF removed_at ON devices FOR EACH ROW
    WHEN (OLD.removed_at = 0 AND NEW.removed_at <> 0) EXECUTE FUNCTION end_device_credentials();

-- +goose StatementBegin
CREATE FUNCTION end_rekeyed_credentials() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credentials SET ended_at = NEW.at, ended_reason = 'rekeyed'
        WHERE domain = NEW.domain AND device_id = NEW.device_id AND ended_at = 0;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER rekeys_credentials AFTER INSERT ON rekeys FOR EACH ROW EXECUTE FUNCTION end_rekeyed_credentials();

-- +goose StatementBegin
CREATE FUNCTION end_user_credentials() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credentials SET ended_at = NEW.disabled_at, ended_reason = 'user_disabled'
        WHERE domain = NEW.domain AND user_id = NEW.id AND ended_at = 0;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER users_credentials AFTER UPDATE OF disabled_at ON users FOR EACH ROW
    WHEN (OLD.disabled_at = 0 AND NEW.disabled_at <> 0) EXECUTE FUNCTION end_user_credentials();

-- The time is about right: a user has none for the handle.
-- +goose StatementBegin
CREATE FUNCTION end_credential_handles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credentials SET handle_ended_at = greatest(issued_at, (SELECT newest FROM clock), 1)
        WHERE domain = NEW.domain AND user_id = NEW.id AND ended_at = 0 AND handle <> '' AND handle_ended_at = 0;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER users_credential_handles AFTER UPDATE OF handle ON users FOR EACH ROW
    WHEN (OLD.handle <> NEW.handle) EXECUTE FUNCTION end_credential_handles();

-- +goose StatementBegin
CREATE FUNCTION end_removed_credentials() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credentials SET ended_at = NEW.at, ended_reason = 'user_removed'
        WHERE domain = NEW.domain AND user_id = NEW.user_id AND ended_at = 0;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER removals_credentials AFTER INSERT ON removals FOR EACH ROW EXECUTE FUNCTION end_removed_credentials();

-- +goose StatementBegin
CREATE FUNCTION drop_removed_credentials() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM credentials WHERE domain = OLD.domain AND user_id = OLD.user_id;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER removals_credentials_gone AFTER DELETE ON removals FOR EACH ROW EXECUTE FUNCTION drop_removed_credentials();
