-- The active devices of a user are counted without reading all their grants. The columns of this index never change.

-- +goose Up

CREATE INDEX grants_user_device ON grants (domain, user_id, device_id);
DROP INDEX grants_user;
