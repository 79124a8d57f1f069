-- How long what a key signs may live, in milliseconds, so that a key stays published until the last of it has expired,
-- whatever the settings say by then; and why a key was revoked.

-- +goose Up

ALTER TABLE signing_keys ADD COLUMN revoked_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE signing_keys ADD COLUMN life INTEGER NOT NULL DEFAULT 0;
