-- The devices under a delegation are found without reading all that a user ever had.

-- +goose Up

CREATE INDEX devices_delegated ON devices (domain, user_id) WHERE removed_at = 0 AND delegation <> '';
