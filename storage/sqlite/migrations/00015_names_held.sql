-- A name is held by one user at a time, however its collision key was made. Where two hold one, the first keeps it; the other
-- one goes on under it until an operator renames them.

-- +goose Up

UPDATE names SET released_at = max(taken_at, 1) WHERE released_at = 0 AND EXISTS (SELECT 1 FROM names o
    WHERE o.domain = names.domain AND o.local = names.local AND o.released_at = 0 AND (o.taken_at, o.key) < (names.taken_at, names.key));
CREATE UNIQUE INDEX names_held ON names (domain, local) WHERE released_at = 0;
