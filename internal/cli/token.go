package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
)

type tokenCmd struct {
	kept
	MinLife time.Duration `default:"30s" placeholder:"30s" help:"Refresh if the token expires sooner than this."`
	Refresh bool          `help:"Refresh even if the token has not expired."`
	Decode  bool          `help:"Print the content of the token instead."`
	JSON    bool          `name:"json" help:"Print JSON."`
}

func (*tokenCmd) Help() string {
	return `It prints an access token of the session that issuer login started, and refreshes it first if necessary. Several processes can
run it at the same time.

    issuer token
    issuer token --decode
    issuer token --refresh --json

JSON is {"access_token", "token_type", "expires_at", "scope"}, and with --decode {"header", "claims"}, without
checking the signature. The exit code is 1 if there is no session or it has ended, and 3 if the issuer cannot be reached
and the token has expired.`
}

func (c *tokenCmd) Run(ctx context.Context, s *streams) error {
	path, err := c.file()
	if err != nil {
		return err
	}
	session, err := client.ReadSession(path)
	if err != nil {
		return noSession(ctx, path, err)
	}
	if c.stale(session) {
		if session, err = c.refresh(ctx, s, path); err != nil {
			return err
		}
	}
	switch {
	case c.Decode:
		return decodeToken(s, session.AccessToken, c.JSON)
	case c.JSON:
		return printJSON(s, struct {
			AccessToken string    `json:"access_token"`
			TokenType   string    `json:"token_type"`
			ExpiresAt   time.Time `json:"expires_at"`
			Scope       string    `json:"scope,omitempty"`
		}{session.AccessToken, "DPoP", session.ExpiresAt, session.Scope})
	}
	fmt.Fprintln(s.out, session.AccessToken)
	return nil
}

func (c *tokenCmd) stale(session client.Session) bool {
	return c.Refresh || time.Until(session.ExpiresAt) < c.MinLife
}

// refresh gets a new access token, unless another process did so while this one waited. If the issuer is unavailable, a token
// that is still valid is used.
func (c *tokenCmd) refresh(ctx context.Context, s *streams, path string) (client.Session, error) {
	held, err := client.HoldSession(ctx, path)
	if err != nil {
		return client.Session{}, noSession(ctx, path, err)
	}
	defer held.Release()
	if !c.stale(held.Session) {
		return held.Session, nil
	}
	if held.RefreshToken == "" {
		if !c.Refresh && time.Now().Before(held.ExpiresAt) {
			return held.Session, nil
		}
		return client.Session{}, refused("client %s may not refresh: log in again with issuer login", held.ClientID)
	}
	tokens, err := renew(ctx, held.Session)
	var (
		e     *client.Error
		ended = errors.As(err, &e) && e.Code == "invalid_grant"
	)
	switch err := answered(held.Issuer, err); {
	case ended:
		return client.Session{}, sessionEnded(e)
	case err != nil:
		var code *exit
		if !c.Refresh && errors.As(err, &code) && code.code == exitUnknown && time.Now().Before(held.ExpiresAt) {
			fmt.Fprintln(s.err, "issuer: not refreshed:", err)
			return held.Session, nil
		}
		return client.Session{}, err
	}
	held.Take(tokens, time.Now())
	if err := held.Save(); err != nil {
		return client.Session{}, usage("%w", err)
	}
	return held.Session, nil
}

// sessionEnded says what to do when the refresh token of a session is refused.
func sessionEnded(e *client.Error) error {
	return refused("the session has ended: log in again with issuer login (%s)", printable(e.Description))
}

// renew redeems the refresh token of a session. Repeating the request is safe: the issuer returns the same successor.
func renew(ctx context.Context, session client.Session) (client.Tokens, error) {
	app, err := clientOf(ctx, session)
	if err != nil {
		return client.Tokens{}, err
	}
	tokens, err := patient(ctx, func() (client.Tokens, error) { return app.Refresh(ctx, session.RefreshToken) })
	if err == nil && !strings.EqualFold(tokens.TokenType, "DPoP") {
		return client.Tokens{}, errors.New("the issuer gave a token that is not bound to the key of this device")
	}
	return tokens, err
}

// claimsOf reads an access token of the session's own issuer, without verifying its signature.
func claimsOf(token string) (claims.Set, error) {
	_, payload, err := parts(token)
	if err != nil {
		return claims.Set{}, err
	}
	return claims.ParseSet(payload)
}

// parts decodes the header and payload of an access token.
func parts(token string) (header, payload []byte, err error) {
	if header, payload, err = decodeJWT(token); err != nil {
		return nil, nil, fmt.Errorf("the access token is %w", err)
	}
	return header, payload, nil
}

// decodeJWT decodes the header and payload of a signed JWT, without verifying its signature.
func decodeJWT(text string) (header, payload json.RawMessage, err error) {
	split := strings.Split(text, ".")
	if len(split) != 3 {
		return nil, nil, errNoJWT
	}
	if header, err = base64.RawURLEncoding.DecodeString(split[0]); err == nil {
		payload, err = base64.RawURLEncoding.DecodeString(split[1])
	}
	if err != nil || !json.Valid(header) || !json.Valid(payload) {
		return nil, nil, errNoJWT
	}
	return header, payload, nil
}

var errNoJWT = errors.New("not a signed JWT")

// decodeToken prints the content of a token.
func decodeToken(s *streams, token string, asJSON bool) error {
	header, payload, err := parts(token)
	if err != nil {
		return refused("%w", err)
	}
	if asJSON {
		return printJSON(s, struct {
			Header json.RawMessage `json:"header"`
			Claims json.RawMessage `json:"claims"`
		}{header, payload})
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	for _, part := range []struct {
		name string
		text []byte
	}{{"header", header}, {"claims", payload}} {
		if err := printMembers(w, part.name, part.text); err != nil {
			return refused("the %s of the access token is not a JSON object", part.name)
		}
	}
	return w.Flush()
}

// printMembers prints the members of a JSON object below a title.
func printMembers(w io.Writer, title string, object []byte) error {
	members, err := membersOf(object)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, title)
	for _, m := range members {
		fmt.Fprintf(w, "  %s\t%s\n", printable(m.name), m.words(time.Now()))
	}
	return nil
}

// A member is a member of a JSON object. Members keep the order of the object.
type member struct {
	name  string
	value json.RawMessage
}

func membersOf(object []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	var list []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: name.(string)} // the names of an object are strings
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// words returns the value for people: text without quotes, times readable, everything else as JSON.
func (m member) words(now time.Time) string {
	var (
		text    string
		seconds int64
	)
	switch m.name {
	case "iat", "exp", "nbf", "auth_time":
		if json.Unmarshal(m.value, &seconds) == nil {
			at := time.Unix(seconds, 0)
			distance := "in " + at.Sub(now).Round(time.Second).String()
			if !at.After(now) {
				distance = now.Sub(at).Round(time.Second).String() + " ago"
			}
			return fmt.Sprintf("%d (%s, %s)", seconds, at.UTC().Format(time.RFC3339), distance)
		}
	}
	if json.Unmarshal(m.value, &text) == nil {
		return printable(text)
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, m.value) // it was valid
	return printable(compact.String())
}
