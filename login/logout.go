package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

const (
	// logoutEvent is the member of events that makes a JWT a logout token (Back-Channel Logout 1.0 §2.4).
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// maxLogoutLife is how far ahead a logout token may expire: its jti is stored until then. §2.4 recommends two minutes.
	maxLogoutLife = time.Hour
)

// logoutClaims are the claims of a logout token that have a meaning here. No other claim may differ from one of them only in case.
var logoutClaims = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "events", "nonce", "sid"}

// A Logout is what a logout token says: that the provider has ended a session, or all sessions of a user.
type Logout struct {
	Issuer string // the configured issuer
	// Subject and SID say which login ended, as in [Identity]. One of them may be empty: without SID, all of the subject ended. A logout
	// token that has no [Config.SubjectClaim] has no Subject.
	Subject, SID string
	// JTI identifies the token. The caller accepts it once, until ExpiresAt.
	JTI       string
	IssuedAt  time.Time
	ExpiresAt time.Time // a clock that differs by a minute counts
}

// Logout verifies a logout token of the provider (OpenID Connect Back-Channel Logout 1.0 §2.6). The error is a *[Rejected], whose Part
// is "logout_token", or wraps [ErrUnavailable]. Whether the token was used before is for the caller to find out.
func (p *Provider) Logout(ctx context.Context, raw string) (Logout, error) {
	jws, err := jose.ParseCompact(raw, jose.Limits{Total: maxIDToken})
	if err != nil {
		return Logout{}, &Rejected{Part: "logout_token", Err: err}
	}
	// §2.4: the type is optional, and "JWT" says no more than its absence (RFC 7519 §5.1); many providers send it. A token of another
	// type is no logout token (RFC 8725 §3.11). `events` tells the others from ID tokens.
	switch strings.TrimPrefix(strings.ToLower(jws.Header.Typ), "application/") {
	case "", "jwt", "logout+jwt":
	default:
		return Logout{}, rejected("logout_token", "typ is not logout+jwt")
	}
	// Before the signature, because this fetches no keys for a token that cannot be good.
	l, err := p.readLogout(jws.Payload)
	if err != nil {
		return Logout{}, &Rejected{Part: "logout_token", Err: err}
	}
	now := p.now()
	token, said, err := p.verify(ctx, raw, "logout_token", p.cfg.ClientID, p.bound(logoutClaims), now)
	if err != nil {
		return Logout{}, err
	}
	l.IssuedAt, l.ExpiresAt = token.IssuedAt.UTC(), token.Expiry.UTC().Add(leeway)
	switch {
	case said["iat"] == nil || l.IssuedAt.After(now.Add(leeway)):
		return Logout{}, rejected("logout_token", "iat is missing or in the future")
	case token.Expiry.After(now.Add(maxLogoutLife + leeway)):
		return Logout{}, rejected("logout_token", "exp is more than an hour ahead")
	}
	return l, nil
}

// loggedOut returns what identifies the user of a logout token. If that is another claim than sub, the token need not have it: then the
// session decides, and the user is empty. A token that names neither is refused, because its sub is not what users are known by.
func (p *Provider) loggedOut(l Logout, said map[string][]byte) (string, error) {
	if p.bySub() {
		return l.Subject, nil
	}
	raw, there := said[p.cfg.SubjectClaim]
	if !there && l.SID != "" {
		return "", nil
	}
	if !there {
		return "", fmt.Errorf("it has neither sid nor %s, which identifies the users of this provider in place of sub", p.cfg.SubjectClaim)
	}
	subject, err := jose.String(raw)
	if err != nil || !identifies(subject) {
		return "", errors.New(p.cfg.SubjectClaim + " is not 1 to 255 printable ASCII characters")
	}
	return subject, nil
}

// readLogout reads the claims of a logout token that are not checked by go-oidc, and iss. Times are left out.
func (p *Provider) readLogout(payload []byte) (l Logout, err error) {
	said := map[string][]byte{}
	if err := jose.Object(payload, func(name string, value []byte) error {
		said[name] = value
		return nil
	}); err != nil {
		return Logout{}, err
	}
	if said["nonce"] != nil { // §2.4: a token with a nonce is an ID token, even if the nonce is empty
		return Logout{}, errors.New("it has a nonce, which is prohibited")
	}
	for _, claim := range []struct {
		name string
		to   *string
	}{{"iss", &l.Issuer}, {"jti", &l.JTI}, {"sub", &l.Subject}, {"sid", &l.SID}} {
		raw, there := said[claim.name]
		if !there {
			continue
		}
		if *claim.to, err = jose.String(raw); err != nil || *claim.to == "" || len(*claim.to) > 255 && claim.name != "iss" {
			return Logout{}, errors.New(claim.name + " is not a string of 1 to 255 bytes")
		}
	}
	switch {
	case l.Issuer != p.cfg.Issuer:
		return Logout{}, errors.New("iss is not this provider")
	case l.JTI == "":
		return Logout{}, errors.New("jti is missing")
	case l.Subject == "" && l.SID == "":
		return Logout{}, errors.New("it has neither sub nor sid")
	}
	if l.Subject, err = p.loggedOut(l, said); err != nil {
		return Logout{}, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(said["events"], &members); err != nil || members == nil {
		return Logout{}, errors.New("events is missing or no object")
	}
	var event map[string]json.RawMessage
	if err := json.Unmarshal(members[logoutEvent], &event); err != nil || event == nil {
		return Logout{}, errors.New("events has no object " + logoutEvent)
	}
	return l, nil
}
