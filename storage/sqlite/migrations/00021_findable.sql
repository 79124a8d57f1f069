-- Whether a user lets others find the issuer of their handle. Users from before do not.

-- +goose Up

ALTER TABLE users ADD COLUMN findable INTEGER NOT NULL DEFAULT 0;
