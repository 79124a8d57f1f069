-- The schema. Times are whole milliseconds since 1970, 0 for "never"; lists are JSON, as text: jsonb refuses some characters. Texts are
-- ordered by their bytes. There are no foreign keys: the contract of storage lets one transaction write its records in any order.

-- +goose Up

-- The oldest version of the schema whose programs can use this one. A migration that takes something away raises it.
CREATE TABLE schema_compatibility (
    id     integer PRIMARY KEY CHECK (id = 1),
    oldest bigint NOT NULL
);
INSERT INTO schema_compatibility (id, oldest) VALUES (1, 1);

CREATE TABLE pings (
    id integer PRIMARY KEY CHECK (id = 1),
    n  bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO pings (id, n) VALUES (1, 0);

-- How far time has come: one row, once it was noted.
CREATE TABLE clock (
    id     integer PRIMARY KEY CHECK (id = 1),
    newest bigint NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE secrets (
    name   text COLLATE "C" PRIMARY KEY,
    sealed bytea NOT NULL
);

CREATE TABLE signing_keys (
    kid            text COLLATE "C" PRIMARY KEY,
    alg            text COLLATE "C" NOT NULL,
    sealed         bytea NOT NULL,
    public         bytea NOT NULL,
    created_at     bigint NOT NULL,
    active_at      bigint NOT NULL,
    retired_at     bigint NOT NULL,
    revoked_at     bigint NOT NULL,
    revoked_reason text COLLATE "C" NOT NULL,
    life           bigint NOT NULL,
    n              bigint GENERATED ALWAYS AS IDENTITY -- the order of insertion
);

CREATE TABLE users (
    domain      text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    handle      text COLLATE "C" NOT NULL,
    gen         bigint NOT NULL,
    created_at  bigint NOT NULL,
    disabled_at bigint NOT NULL,
    findable    boolean NOT NULL,
    PRIMARY KEY (domain, id)
);

CREATE TABLE links (
    domain     text COLLATE "C" NOT NULL,
    issuer     text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (domain, issuer, subject)
);
CREATE INDEX links_user ON links (domain, user_id, issuer);

CREATE TABLE names (
    domain      text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    local       text COLLATE "C" NOT NULL,
    user_id     text COLLATE "C" NOT NULL,
    taken_at    bigint NOT NULL,
    released_at bigint NOT NULL,
    tables      text COLLATE "C" NOT NULL, -- the version of the tables by which key was made
    PRIMARY KEY (domain, key)
);
CREATE INDEX names_user ON names (domain, user_id);
CREATE INDEX names_tables ON names (tables);
CREATE UNIQUE INDEX names_held ON names (domain, local) WHERE released_at = 0;

-- What is left of removed users, and the users about whom there still are rows to delete.
CREATE TABLE tombstones (
    domain     text COLLATE "C" NOT NULL,
    mark       bytea NOT NULL,
    removed_on bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (domain, mark)
);
CREATE INDEX tombstones_expires ON tombstones (expires_at) WHERE expires_at <> 0;

CREATE TABLE removals (
    domain  text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (domain, user_id)
);

CREATE TABLE devices (
    domain         text COLLATE "C" NOT NULL,
    id             text COLLATE "C" NOT NULL,
    user_id        text COLLATE "C" NOT NULL,
    jkt            text COLLATE "C" NOT NULL,
    name           text COLLATE "C" NOT NULL,
    client         text COLLATE "C" NOT NULL,
    created_at     bigint NOT NULL,
    removed_at     bigint NOT NULL,
    removed_reason text COLLATE "C" NOT NULL,
    delegation     text COLLATE "C" NOT NULL,
    number         bigint NOT NULL,
    alg            text COLLATE "C" NOT NULL,
    platform       text COLLATE "C" NOT NULL,
    PRIMARY KEY (domain, id)
);
CREATE UNIQUE INDEX devices_jkt ON devices (domain, jkt);
CREATE UNIQUE INDEX devices_number ON devices (domain, delegation, number) WHERE delegation <> '';
CREATE INDEX devices_user ON devices (domain, user_id, id);
CREATE INDEX devices_delegated ON devices (domain, user_id) WHERE removed_at = 0 AND delegation <> '';
CREATE INDEX devices_removed ON devices (removed_at, domain, id) WHERE removed_at <> 0;

-- What stays of a removed device that is no longer kept: its keys and its id, neither of which comes back.
CREATE TABLE removed_keys (
    domain     text COLLATE "C" NOT NULL,
    jkt        text COLLATE "C" NOT NULL,
    device_id  text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    delegation text COLLATE "C" NOT NULL,
    number     bigint NOT NULL,
    PRIMARY KEY (domain, jkt)
);
CREATE INDEX removed_keys_device ON removed_keys (domain, device_id);
CREATE INDEX removed_keys_user ON removed_keys (domain, user_id);
CREATE INDEX removed_keys_number ON removed_keys (domain, delegation, number) WHERE delegation <> '';

-- Each replacement of the key of a device.
CREATE TABLE rekeys (
    domain    text COLLATE "C" NOT NULL,
    old_jkt   text COLLATE "C" NOT NULL,
    new_jkt   text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    number    bigint NOT NULL,
    at        bigint NOT NULL,
    alg       text COLLATE "C" NOT NULL,
    PRIMARY KEY (domain, old_jkt)
);
CREATE UNIQUE INDEX rekeys_device ON rekeys (domain, device_id, number);

-- A refresh changes gen, rotated_at and idle_at. No index names them and each page has room, so that it writes one page (a HOT update).
CREATE TABLE grants (
    id           text COLLATE "C" PRIMARY KEY,
    domain       text COLLATE "C" NOT NULL,
    client       text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    device_id    text COLLATE "C" NOT NULL,
    jkt          text COLLATE "C" NOT NULL,
    scopes       text COLLATE "C" NOT NULL,
    audience     text COLLATE "C" NOT NULL,
    issuer       text COLLATE "C" NOT NULL,
    upstream_sid text COLLATE "C" NOT NULL,
    auth_time    bigint NOT NULL,
    acr          text COLLATE "C" NOT NULL,
    amr          text COLLATE "C" NOT NULL,
    gen          bigint NOT NULL,
    rotated_at   bigint NOT NULL,
    created_at   bigint NOT NULL,
    idle_at      bigint NOT NULL,
    expires_at   bigint NOT NULL,
    ended_at     bigint NOT NULL,
    ended_reason text COLLATE "C" NOT NULL,
    status       bigint NOT NULL,
    n            bigint GENERATED ALWAYS AS IDENTITY -- a sweep walks along it
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX grants_n ON grants (n);
CREATE INDEX grants_user_device ON grants (domain, user_id, device_id);
CREATE INDEX grants_device ON grants (domain, device_id) WHERE ended_at = 0;
CREATE INDEX grants_client ON grants (client) WHERE ended_at = 0;
CREATE INDEX grants_upstream ON grants (domain, upstream_sid) WHERE ended_at = 0 AND upstream_sid <> '';

-- Sessions that ended and are kept leave the table that requests read.
CREATE TABLE ended_grants (
    id           text COLLATE "C" PRIMARY KEY,
    domain       text COLLATE "C" NOT NULL,
    client       text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    device_id    text COLLATE "C" NOT NULL,
    scopes       text COLLATE "C" NOT NULL,
    audience     text COLLATE "C" NOT NULL,
    issuer       text COLLATE "C" NOT NULL,
    auth_time    bigint NOT NULL,
    acr          text COLLATE "C" NOT NULL,
    amr          text COLLATE "C" NOT NULL,
    rotated_at   bigint NOT NULL,
    created_at   bigint NOT NULL,
    ended_at     bigint NOT NULL,
    ended_reason text COLLATE "C" NOT NULL
);
CREATE INDEX ended_grants_user ON ended_grants (domain, user_id, id);
CREATE INDEX ended_grants_at ON ended_grants (ended_at);

CREATE TABLE codes (
    hash           bytea PRIMARY KEY,
    domain         text COLLATE "C" NOT NULL,
    client         text COLLATE "C" NOT NULL,
    user_id        text COLLATE "C" NOT NULL,
    redirect_uri   text COLLATE "C" NOT NULL,
    redirect_given boolean NOT NULL,
    challenge      text COLLATE "C" NOT NULL,
    jkt            text COLLATE "C" NOT NULL,
    device_name    text COLLATE "C" NOT NULL,
    scopes         text COLLATE "C" NOT NULL,
    audience       text COLLATE "C" NOT NULL,
    issuer         text COLLATE "C" NOT NULL,
    upstream_sid   text COLLATE "C" NOT NULL,
    auth_time      bigint NOT NULL,
    acr            text COLLATE "C" NOT NULL,
    amr            text COLLATE "C" NOT NULL,
    created_at     bigint NOT NULL,
    expires_at     bigint NOT NULL,
    spent_at       bigint NOT NULL,
    grant_id       text COLLATE "C" NOT NULL,
    platform       text COLLATE "C" NOT NULL
);
CREATE INDEX codes_expires ON codes (expires_at);
CREATE INDEX codes_grant ON codes (grant_id) WHERE grant_id <> '';
CREATE INDEX codes_user ON codes (domain, user_id);
CREATE INDEX codes_upstream ON codes (domain, upstream_sid) WHERE upstream_sid <> '';

CREATE TABLE device_codes (
    hash         bytea PRIMARY KEY,
    user_code    bytea NOT NULL UNIQUE,
    client       text COLLATE "C" NOT NULL,
    request      text COLLATE "C" NOT NULL,
    jkt          text COLLATE "C" NOT NULL,
    network      text COLLATE "C" NOT NULL,
    decided_at   bigint NOT NULL,
    allowed      boolean NOT NULL,
    domain       text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    device_id    text COLLATE "C" NOT NULL,
    issuer       text COLLATE "C" NOT NULL,
    upstream_sid text COLLATE "C" NOT NULL,
    auth_time    bigint NOT NULL,
    acr          text COLLATE "C" NOT NULL,
    amr          text COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    expires_at   bigint NOT NULL,
    spent_at     bigint NOT NULL,
    grant_id     text COLLATE "C" NOT NULL
);
CREATE INDEX device_codes_expires ON device_codes (expires_at);
CREATE INDEX device_codes_user ON device_codes (domain, user_id) WHERE user_id <> '';
CREATE INDEX device_codes_device ON device_codes (domain, device_id) WHERE device_id <> '';
CREATE INDEX device_codes_upstream ON device_codes (domain, upstream_sid) WHERE upstream_sid <> '';

CREATE TABLE logins (
    state      bytea PRIMARY KEY,
    browser    bytea NOT NULL,
    domain     text COLLATE "C" NOT NULL,
    provider   text COLLATE "C" NOT NULL,
    nonce      text COLLATE "C" NOT NULL,
    verifier   text COLLATE "C" NOT NULL,
    request    text COLLATE "C" NOT NULL, -- form-encoded
    person     bytea,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX logins_expires ON logins (expires_at);

CREATE TABLE pushed (
    uri        bytea PRIMARY KEY,
    client     text COLLATE "C" NOT NULL,
    request    text COLLATE "C" NOT NULL, -- form-encoded
    expires_at bigint NOT NULL
);
CREATE INDEX pushed_expires ON pushed (expires_at);

CREATE TABLE logouts (
    domain     text COLLATE "C" NOT NULL,
    issuer     text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    sid        text COLLATE "C" NOT NULL,
    at         bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (domain, issuer, subject, sid)
);
CREATE INDEX logouts_expires ON logouts (expires_at);

CREATE TABLE browser_sessions (
    hash         bytea PRIMARY KEY,
    domain       text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    provider     text COLLATE "C" NOT NULL,
    issuer       text COLLATE "C" NOT NULL,
    upstream_sid text COLLATE "C" NOT NULL,
    auth_time    bigint NOT NULL,
    acr          text COLLATE "C" NOT NULL,
    amr          text COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    used_at      bigint NOT NULL,
    idle_at      bigint NOT NULL,
    expires_at   bigint NOT NULL
);
CREATE INDEX browser_sessions_user ON browser_sessions (domain, user_id);
CREATE INDEX browser_sessions_upstream ON browser_sessions (domain, upstream_sid) WHERE upstream_sid <> '';
CREATE INDEX browser_sessions_idle ON browser_sessions (idle_at);

CREATE TABLE statements (
    jti              text COLLATE "C" PRIMARY KEY,
    domain           text COLLATE "C" NOT NULL,
    user_id          text COLLATE "C" NOT NULL,
    typ              text COLLATE "C" NOT NULL,
    claims           bytea NOT NULL,
    created_at       bigint NOT NULL,
    expires_at       bigint NOT NULL,
    withdrawn_at     bigint NOT NULL,
    withdrawn_reason text COLLATE "C" NOT NULL,
    device           text COLLATE "C" NOT NULL,
    gen              bigint NOT NULL,
    tells_handle     boolean NOT NULL,
    jkt              text COLLATE "C" NOT NULL
);
CREATE INDEX statements_user ON statements (domain, user_id);
CREATE INDEX statements_expires ON statements (expires_at);
CREATE INDEX statements_standing ON statements (domain, user_id, created_at, jti) WHERE withdrawn_at = 0;
CREATE INDEX statements_withdrawn ON statements (withdrawn_at) WHERE withdrawn_at <> 0;

-- Many statements end by one row, which readers look at until it is written into the rows of the statements.
CREATE TABLE withdrawals (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    domain       text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    jti          text COLLATE "C" NOT NULL,
    device       text COLLATE "C" NOT NULL,
    jkt          text COLLATE "C" NOT NULL,
    tells_handle boolean NOT NULL,
    below        bigint NOT NULL,
    reason       text COLLATE "C" NOT NULL,
    at           bigint NOT NULL
);
CREATE INDEX withdrawals_user ON withdrawals (domain, user_id);

CREATE TABLE spent_ids (
    kind       text COLLATE "C" NOT NULL,
    key        bytea NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX spent_ids_expires ON spent_ids (expires_at);

CREATE TABLE kept_answers (
    key        bytea PRIMARY KEY,
    request    bytea NOT NULL,
    answer     bytea NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX kept_answers_expires ON kept_answers (expires_at);

-- Clients that were registered while the issuer ran. A row is never deleted: its id is never used again.
CREATE TABLE clients (
    id              text COLLATE "C" PRIMARY KEY,
    seq             bigint NOT NULL UNIQUE, -- of the last change, in the order of the commits
    registration    bytea NOT NULL,
    secret          bytea, -- SHA-256
    old_secret      bytea, -- SHA-256
    old_until       bigint NOT NULL,
    registered_with text COLLATE "C" NOT NULL,
    managed_by      bytea, -- SHA-256
    created_at      bigint NOT NULL,
    removed_at      bigint NOT NULL,
    removed_reason  text COLLATE "C" NOT NULL
);
CREATE INDEX clients_registered ON clients (registered_with) WHERE registered_with <> '' AND removed_at = 0;
CREATE SEQUENCE client_numbers;

-- What happened to the devices of a user, numbered for each user. The last number outlives its row, so that it is not given again.
CREATE TABLE user_events (
    domain     text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    number     bigint NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    device_id  text COLLATE "C" NOT NULL,
    at         bigint NOT NULL,
    PRIMARY KEY (domain, user_id, number)
);
CREATE INDEX user_events_at ON user_events (at);

CREATE TABLE user_event_numbers (
    domain  text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    last    bigint NOT NULL,
    PRIMARY KEY (domain, user_id)
) WITH (fillfactor = 80);

-- The numbers of revocations are taken under a lock that is held until the commit, so they are in the order of the commits.
CREATE TABLE revocations (
    seq        bigint PRIMARY KEY,
    kind       text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    gen        bigint NOT NULL,
    owner      text COLLATE "C" NOT NULL,
    domain     text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    reason     text COLLATE "C" NOT NULL,
    at         bigint NOT NULL,
    expires_at bigint NOT NULL,
    UNIQUE (kind, key)
);
CREATE INDEX revocations_expires ON revocations (expires_at);
CREATE INDEX revocations_owner ON revocations (owner) WHERE owner <> '';
CREATE SEQUENCE revocation_numbers;

-- The highest number of a revocation that was swept.
CREATE TABLE swept_revocations (
    id   integer PRIMARY KEY CHECK (id = 1),
    last bigint NOT NULL
);
INSERT INTO swept_revocations (id, last) VALUES (1, 0);

-- Token Status Lists. The number of an entry is the id of its list times 2^20, plus its index; 0 for none. 3900000 milliseconds are
-- storage.StatusGrace.
CREATE TABLE status_lists (
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

CREATE TABLE ended_statuses (
    entry      bigint PRIMARY KEY,
    expires_at bigint NOT NULL
);
CREATE INDEX ended_statuses_expires ON ended_statuses (expires_at);

-- However a grant ends, its entry does. A refresh does not write ended_at, so that it does not come here.
-- +goose StatementBegin
CREATE FUNCTION end_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ended_statuses (entry, expires_at) VALUES (NEW.status, NEW.ended_at + 3900000)
        ON CONFLICT (entry) DO UPDATE SET expires_at = excluded.expires_at;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER grants_status AFTER UPDATE OF ended_at ON grants FOR EACH ROW
    WHEN (OLD.ended_at = 0 AND NEW.ended_at <> 0 AND NEW.status <> 0) EXECUTE FUNCTION end_status();

-- Where the tokens of a user end and the grants do not, the grants lose their entries.
-- +goose StatementBegin
CREATE FUNCTION end_statuses() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_domain text := split_part(NEW.key, '/', 1);
    of_user   text := substr(NEW.key, strpos(NEW.key, '/') + 1);
BEGIN
    INSERT INTO ended_statuses (entry, expires_at)
        SELECT status, NEW.at + 3900000 FROM grants
        WHERE domain = of_domain AND user_id = of_user AND ended_at = 0 AND status <> 0
        ON CONFLICT (entry) DO UPDATE SET expires_at = excluded.expires_at;
    UPDATE grants SET status = 0 WHERE domain = of_domain AND user_id = of_user AND ended_at = 0 AND status <> 0;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER revocations_status AFTER INSERT OR UPDATE OF seq ON revocations FOR EACH ROW
    WHEN (NEW.kind = 'gen') EXECUTE FUNCTION end_statuses();

-- The audit log: a chain of records for each node, and signed heads of the chains. A record does not change, but for the erasure of
-- its private part, and is removed only below a signed head.
CREATE TABLE audit (
    node    text COLLATE "C" NOT NULL,
    seq     bigint NOT NULL,
    hash    bytea NOT NULL,
    record  text COLLATE "C" NOT NULL,
    private bytea,
    at      bigint NOT NULL,
    domain  text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (node, seq)
);
CREATE INDEX audit_user ON audit (domain, user_id, node, seq) WHERE user_id <> '';

CREATE TABLE audit_heads (
    node  text COLLATE "C" NOT NULL,
    seq   bigint NOT NULL,
    at    bigint NOT NULL,
    token text COLLATE "C" NOT NULL,
    PRIMARY KEY (node, seq)
);

-- +goose StatementBegin
CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF ROW (NEW.node, NEW.seq, NEW.hash, NEW.record, NEW.at, NEW.domain, NEW.user_id)
            IS DISTINCT FROM ROW (OLD.node, OLD.seq, OLD.hash, OLD.record, OLD.at, OLD.domain, OLD.user_id) THEN
            RAISE EXCEPTION 'a record of the audit log does not change';
        END IF;
        IF NEW.private IS NOT NULL THEN
            RAISE EXCEPTION 'the private part of a record of the audit log is only erased';
        END IF;
        RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM audit_heads WHERE node = OLD.node AND seq >= OLD.seq) THEN
        RAISE EXCEPTION 'a record of the audit log is removed only below a signed head';
    END IF;
    RETURN OLD;
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION keep_audit();

-- +goose StatementBegin
CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a record of the audit log is removed only below a signed head';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_is_not_truncated BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();

-- What users are shown of their records: JSON as it is, times by RFC 3339.
-- +goose StatementBegin
CREATE FUNCTION json_or_null(document text) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN document::json;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION json_or_null(document bytea) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN convert_from(document, 'UTF8')::json;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE FUNCTION shown_time(millis bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
    'SELECT to_char(to_timestamp(nullif(millis, 0) / 1000.0) AT TIME ZONE ''UTC'', ''YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'')';
