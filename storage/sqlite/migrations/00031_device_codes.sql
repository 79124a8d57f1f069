-- Device authorization requests. A row is found by the hash of its device code or of its user code, and is stored for some minutes.

-- +goose Up

CREATE TABLE device_codes (
    hash         BLOB PRIMARY KEY,
    user_code    BLOB NOT NULL UNIQUE,
    client       TEXT NOT NULL,
    request      TEXT NOT NULL,
    jkt          TEXT NOT NULL,
    network      TEXT NOT NULL,
    decided_at   INTEGER NOT NULL,
    allowed      INTEGER NOT NULL,
    domain       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    device_id    TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    upstream_sid TEXT NOT NULL,
    auth_time    INTEGER NOT NULL,
    acr          TEXT NOT NULL,
    amr          TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    spent_at     INTEGER NOT NULL,
    grant_id     TEXT NOT NULL
) STRICT;
CREATE INDEX device_codes_expires ON device_codes (expires_at);
CREATE INDEX device_codes_user ON device_codes (domain, user_id) WHERE user_id <> '';
CREATE INDEX device_codes_device ON device_codes (domain, device_id) WHERE device_id <> '';
CREATE INDEX device_codes_upstream ON device_codes (domain, upstream_sid) WHERE upstream_sid <> '';
