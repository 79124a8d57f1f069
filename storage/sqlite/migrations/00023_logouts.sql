-- Logins that an OpenID provider has ended, and the sessions by the session id of the provider. A refresh changes no column of the index.

-- +goose Up

CREATE TABLE logouts (
    domain     TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    sid        TEXT NOT NULL,
    at         INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (domain, issuer, subject, sid)
) STRICT;
CREATE INDEX logouts_expires ON logouts (expires_at);
CREATE INDEX grants_upstream ON grants (domain, upstream_sid) WHERE ended_at = 0 AND upstream_sid <> '';
