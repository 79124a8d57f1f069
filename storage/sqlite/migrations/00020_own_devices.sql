-- What users are shown of their devices: the algorithm of the key, empty for keys from before. Those that are not removed are found
-- page by page.

-- +goose Up

ALTER TABLE devices ADD COLUMN alg TEXT NOT NULL DEFAULT '';
ALTER TABLE rekeys ADD COLUMN alg TEXT NOT NULL DEFAULT '';
CREATE INDEX devices_present ON devices (domain, user_id) WHERE removed_at = 0;
