-- Each replacement of the key of a device. A key is used once in a domain: the old one is the old one of no other replacement.
-- Number counts the replacements of a device.

-- +goose Up

CREATE TABLE rekeys (
    domain    TEXT NOT NULL,
    old_jkt   TEXT NOT NULL,
    new_jkt   TEXT NOT NULL,
    device_id TEXT NOT NULL,
    number    INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (domain, old_jkt)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX rekeys_device ON rekeys (domain, device_id, number);
