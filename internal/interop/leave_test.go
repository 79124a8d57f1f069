package interop_test

import (
	"context"
	"net/http"
	"testing"
)

// leave ends a session of a person, takes their data, and leaves with an app. Nobody else uses this person.
func leave(t *testing.T, ctx context.Context, issuer string) {
	app, _ := newClient(t, ctx, issuer, "im-app", "")
	former := logIn(t, ctx, app, ownAccount, "login", "frank")
	tokens := logIn(t, ctx, app, ownAccount, "login", "frank")
	var session struct{ SID string }
	payload(t, former.AccessToken, &session)
	own := forIssuer(t, ctx, app, tokens.RefreshToken)
	for _, step := range []struct {
		method, path string
		want         int
	}{
		{http.MethodDelete, "/me/sessions/" + session.SID, http.StatusNoContent},
		{http.MethodGet, "/me/export", http.StatusOK},
		{http.MethodDelete, "/me", http.StatusNoContent},
		{http.MethodDelete, "/me", http.StatusUnauthorized},
	} {
		req, err := http.NewRequestWithContext(ctx, step.method, issuer+step.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "DPoP "+own.AccessToken)
		resp, err := app.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != step.want {
			t.Errorf("%s %s = %d, %v, want %d", step.method, step.path, resp.StatusCode, err, step.want)
		}
	}
}
