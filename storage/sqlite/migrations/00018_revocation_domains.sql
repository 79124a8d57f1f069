-- The domains whose tokens a revocation can end, and the user that it is about. Rows from before do not say: they concern
-- callers of every domain, and none of them has read the revocations yet.

-- +goose Up

ALTER TABLE revocations ADD COLUMN domain TEXT NOT NULL DEFAULT '';
ALTER TABLE revocations ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
