-- Sign-ins of browsers at the issuer itself. A used session writes the columns used_at and idle_at, at most once a minute.

-- +goose Up

CREATE TABLE browser_sessions (
    hash         BLOB NOT NULL PRIMARY KEY,
    domain       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    provider     TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    upstream_sid TEXT NOT NULL,
    auth_time    INTEGER NOT NULL,
    acr          TEXT NOT NULL,
    amr          TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    used_at      INTEGER NOT NULL,
    idle_at      INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX browser_sessions_user ON browser_sessions (domain, user_id);
CREATE INDEX browser_sessions_upstream ON browser_sessions (domain, upstream_sid) WHERE upstream_sid <> '';
CREATE INDEX browser_sessions_idle ON browser_sessions (idle_at);
