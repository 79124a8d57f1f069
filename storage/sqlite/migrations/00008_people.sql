-- What belongs to a user is found without looking at everybody else's. The columns of these indexes never change.

-- +goose Up

CREATE INDEX links_user ON links (domain, user_id);
CREATE INDEX names_user ON names (domain, user_id);
CREATE INDEX grants_user ON grants (domain, user_id);
