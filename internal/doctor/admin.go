package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
)

// socket checks through the admin socket whether an issuer runs here.
func (e *examination) socket(ctx context.Context) {
	r, err := ask(ctx, e.admin.HTTP(), http.MethodGet, "http://issuer/admin/keys", nil, nil)
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.found(Unknown, "admin", "run doctor as the user that the issuer runs as", "the admin socket %s cannot be opened by this user",
			e.admin)
		return
	case err != nil:
		e.found(Unknown, "admin", "start it with `issuer serve --config`; if it runs, check that data and admin are those of its settings",
			"no issuer answers at %s: %v", e.admin, cause(err))
		return
	}
	e.running = true
	var list []struct{ State string }
	signing := 0
	err = json.Unmarshal(r.body, &list)
	for _, k := range list {
		if k.State == "signing" {
			signing++
		}
	}
	if r.StatusCode != http.StatusOK || err != nil || signing == 0 {
		e.found(Fail, "admin", "see the log of the issuer, and issuer keys list", "the issuer answers at %s, but has no signing key",
			e.admin)
		return
	}
	e.ok("admin", "an issuer answers at %s", e.admin)
}
