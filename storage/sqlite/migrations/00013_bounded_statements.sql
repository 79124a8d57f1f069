-- What is asked about many statements at once is found without reading their claims, and page by page.

-- +goose Up

ALTER TABLE statements ADD COLUMN gen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statements ADD COLUMN tells_handle INTEGER NOT NULL DEFAULT 0;
ALTER TABLE statements ADD COLUMN jkt TEXT NOT NULL DEFAULT '';
UPDATE statements SET
    tells_handle = ifnull(json_extract(CAST(claims AS TEXT), '$.handle'), '') <> ''
        AND ifnull(json_extract(CAST(claims AS TEXT), '$.old_handle'), '') = '',
    jkt = ifnull(json_extract(CAST(claims AS TEXT), '$.cnf.jkt'), '')
    WHERE json_valid(CAST(claims AS TEXT));
UPDATE statements SET tells_handle = 1 WHERE NOT json_valid(CAST(claims AS TEXT));
CREATE INDEX statements_standing ON statements (domain, user_id, created_at, jti) WHERE withdrawn_at = 0;
