-- How long rows are kept is a setting, which applies to rows that are stored: events are found by their time, and removed devices by that
-- of the removal. Sessions that ended leave the table of grants, which requests read, for one of their own. Of a removed device that is no
-- longer kept stay its keys and its id, neither of which comes back.

-- +goose Up

DROP INDEX user_events_expires;
ALTER TABLE user_events DROP COLUMN expires_at;
CREATE INDEX user_events_at ON user_events (at);

CREATE TABLE ended_grants (
    id           TEXT PRIMARY KEY,
    domain       TEXT NOT NULL,
    client       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    device_id    TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    audience     TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    auth_time    INTEGER NOT NULL,
    acr          TEXT NOT NULL,
    amr          TEXT NOT NULL,
    rotated_at   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    ended_reason TEXT NOT NULL
) STRICT;
CREATE INDEX ended_grants_user ON ended_grants (domain, user_id, id);
CREATE INDEX ended_grants_at ON ended_grants (ended_at);

CREATE INDEX devices_removed ON devices (removed_at) WHERE removed_at <> 0;

CREATE TABLE removed_keys (
    domain     TEXT NOT NULL,
    jkt        TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    delegation TEXT NOT NULL,
    number     INTEGER NOT NULL,
    PRIMARY KEY (domain, jkt)
) STRICT, WITHOUT ROWID;
CREATE INDEX removed_keys_device ON removed_keys (domain, device_id);
CREATE INDEX removed_keys_user ON removed_keys (domain, user_id);
CREATE INDEX removed_keys_number ON removed_keys (domain, delegation, number) WHERE delegation <> '';
