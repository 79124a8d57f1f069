-- Times are whole milliseconds since 1970, 0 for "never"; lists are JSON. There are no foreign keys: the contract of
-- storage lets one transaction write its records in any order, and a check deferred to COMMIT would fail the
-- transactions of others that share it.

-- +goose Up

-- "imis": tells our file from another program's.
PRAGMA application_id = 1768778099;

CREATE TABLE secrets (
    name   TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
    kid        TEXT PRIMARY KEY,
    alg        TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    public     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    active_at  INTEGER NOT NULL,
    retired_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    domain      TEXT NOT NULL,
    id          TEXT NOT NULL,
    handle      TEXT NOT NULL,
    gen         INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER NOT NULL,
    PRIMARY KEY (domain, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE links (
    domain     TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (domain, issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE names (
    domain      TEXT NOT NULL,
    key         TEXT NOT NULL,
    local       TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    taken_at    INTEGER NOT NULL,
    released_at INTEGER NOT NULL,
    PRIMARY KEY (domain, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    domain         TEXT NOT NULL,
    id             TEXT NOT NULL,
    user_id        TEXT NOT NULL,
    jkt            TEXT NOT NULL,
    name           TEXT NOT NULL,
    client         TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    removed_at     INTEGER NOT NULL,
    removed_reason TEXT NOT NULL,
    PRIMARY KEY (domain, id),
    UNIQUE (domain, jkt)
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_user ON devices (domain, user_id);

-- A refresh changes gen, rotated_at and idle_at in place. No index names them, so that it writes one page.
CREATE TABLE grants (
    id           TEXT PRIMARY KEY,
    domain       TEXT NOT NULL,
    client       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    device_id    TEXT NOT NULL,
    jkt          TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    audience     TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    upstream_sid TEXT NOT NULL,
    auth_time    INTEGER NOT NULL,
    acr          TEXT NOT NULL,
    amr          TEXT NOT NULL,
    gen          INTEGER NOT NULL,
    rotated_at   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    idle_at      INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    ended_reason TEXT NOT NULL
) STRICT;
CREATE INDEX grants_device ON grants (domain, device_id) WHERE ended_at = 0;

CREATE TABLE codes (
    hash           BLOB PRIMARY KEY,
    domain         TEXT NOT NULL,
    client         TEXT NOT NULL,
    user_id        TEXT NOT NULL,
    redirect_uri   TEXT NOT NULL,
    redirect_given INTEGER NOT NULL,
    challenge      TEXT NOT NULL,
    jkt            TEXT NOT NULL,
    device_name    TEXT NOT NULL,
    scopes         TEXT NOT NULL,
    audience       TEXT NOT NULL,
    issuer         TEXT NOT NULL,
    upstream_sid   TEXT NOT NULL,
    auth_time      INTEGER NOT NULL,
    acr            TEXT NOT NULL,
    amr            TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    spent_at       INTEGER NOT NULL,
    grant_id       TEXT NOT NULL
) STRICT;
CREATE INDEX codes_expires ON codes (expires_at);
CREATE INDEX codes_grant ON codes (grant_id);

CREATE TABLE logins (
    state      BLOB PRIMARY KEY,
    browser    BLOB NOT NULL,
    domain     TEXT NOT NULL,
    provider   TEXT NOT NULL,
    nonce      TEXT NOT NULL,
    verifier   TEXT NOT NULL,
    request    TEXT NOT NULL, -- form-encoded
    person     BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX logins_expires ON logins (expires_at);

CREATE TABLE pushed (
    uri        BLOB PRIMARY KEY,
    client     TEXT NOT NULL,
    request    TEXT NOT NULL, -- form-encoded
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX pushed_expires ON pushed (expires_at);

-- AUTOINCREMENT: a number is never given twice, also after its row was swept.
CREATE TABLE revocations (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    key        TEXT NOT NULL,
    gen        INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE INDEX revocations_expires ON revocations (expires_at);

CREATE TABLE pings (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    n  INTEGER NOT NULL
) STRICT;
INSERT INTO pings (id, n) VALUES (1, 0);
