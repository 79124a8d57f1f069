-- The credentials of a user end within the time limit of a statement, however many of them ended before.

-- +goose Up

CREATE INDEX credentials_user_live ON credentials (domain, user_id) WHERE ended_at = 0;
