package introspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"

	"github.com/imidentity/issuer/internal/jose"
)

// UnmarshalJSON reads an audience: a string, or an array of strings.
func (a *Audience) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		one, err := jose.String(text)
		*a = Audience{one}
		return err
	}
	list, err := jose.Strings(text)
	*a = list
	return err
}

// answerNames are the members of an answer that a [Client] reads. Names that differ only in case are refused.
var answerNames = []string{
	"active", "iss", "sub", "username", "handle", "device", "aud", "client_id", "scope", "exp", "iat", "jti", "auth_time", "acr", "sid",
	"cnf", "token_type", "expires_in", "max_age", "holder", "home_iss", "act", "tokens", "xsign", "reason", "path",
}

// readAnswer reads an answer. Detail is the claim im_detail of a signed one. An active answer is refused unless it has everything that
// it takes to use it, and says whether the holder showed the token if that was asked.
func (c *Client) readAnswer(text, detail []byte, shown bool) (Answer, error) {
	has := make(map[string]bool, len(answerNames))
	var active, known bool
	var cnf []byte
	err := jose.Object(text, func(name string, value []byte) error {
		has[name] = true
		switch name {
		case "active":
			active, known = string(value) == "true", string(value) == "true" || string(value) == "false"
		case "cnf":
			cnf = value
		}
		return jose.CheckCase(name, answerNames)
	})
	switch {
	case err != nil:
		return Answer{}, malformed("%w", err)
	case !known:
		return Answer{}, malformed("active is neither true nor false")
	case !active:
		if detail == nil {
			detail = text
		}
		return readRefusal(detail)
	}
	var a Answer
	if err := json.Unmarshal(text, &a); err != nil {
		return Answer{}, malformed("a member has another type than it should")
	}
	if cnf != nil {
		a.Confirmation = &Confirmation{}
		if err := jose.ReadMembers(cnf, jose.Member{Name: "jkt", Text: &a.Confirmation.JKT, Required: true}); err != nil {
			return Answer{}, malformed("cnf: %w", err)
		}
	}
	for _, name := range []string{"token_type", "expires_in", "max_age", "holder"} {
		if !has[name] {
			return Answer{}, malformed("it is active and has no %s", name)
		}
	}
	if err := c.checkActive(&a, shown); err != nil {
		return Answer{}, malformed("%w", err)
	}
	return a, nil
}

// checkActive checks the values of an active answer.
func (c *Client) checkActive(a *Answer, shown bool) error {
	holder := Unverified
	if shown {
		holder = Verified
	}
	switch {
	case a.Issuer != "" && a.Issuer != c.cfg.Issuer:
		return errors.New("the token is of another issuer")
	case a.ExpiresIn < 0 || a.ExpiresIn > math.MaxInt32 || a.MaxAge < 0 || a.MaxAge > math.MaxInt32 || a.ExpiresAt < 0:
		return errors.New("a time is out of range")
	case a.Holder != holder:
		return errors.New("holder is not " + string(holder))
	case a.TokenType == "Bearer" && a.Confirmation == nil && !shown:
		return nil
	case a.TokenType != "DPoP" || a.Confirmation == nil:
		return errors.New("token_type and cnf do not go together")
	}
	if raw, err := jose.DecodeBase64(a.Confirmation.JKT); err != nil || len(raw) != 32 {
		return errors.New("cnf.jkt is not a thumbprint")
	}
	return nil
}

// readRefusal reads why a token is not active, as far as the issuer says.
func readRefusal(text []byte) (Answer, error) {
	var reason string
	var a Answer
	err := jose.ReadMembers(text,
		jose.Member{Name: "reason", Text: &reason, Max: 128}, jose.Member{Name: "path", Text: &a.Path, Max: 1 << 10})
	if err != nil {
		return Answer{}, malformed("%w", err)
	}
	a.Reason = Reason(reason)
	return a, nil
}

// readBatch returns the answers about several tokens, which are in the order of the questions.
func (c *Client) readBatch(ctx context.Context, r reply, n int) ([][]byte, error) {
	var list []byte
	if r.signed {
		claims, err := c.open(ctx, r, jose.TypeIntrospectionBatch)
		if err != nil {
			return nil, err
		}
		list = claims.answers
	} else if err := jose.ReadMembers(r.text, jose.Member{Name: "answers", Read: func(raw []byte) error {
		list = raw
		return nil
	}}); err != nil {
		return nil, malformed("%w", err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(list, &raw); err != nil || len(raw) != n {
		return nil, malformed("it has not one answer for each of %d tokens", n)
	}
	answers := make([][]byte, n)
	for i := range raw {
		answers[i] = bytes.TrimSpace(raw[i])
	}
	return answers, nil
}

// readItem reads the answer about one token among several.
func (c *Client) readItem(text []byte, signed bool) (Answer, error) {
	var code string
	var inner, detail []byte
	members := []jose.Member{{Name: "error", Text: &code}}
	if signed {
		members = append(members, keepRaw("token_introspection", &inner), keepRaw("im_detail", &detail))
	}
	if err := jose.ReadMembers(text, members...); err != nil {
		return Answer{}, malformed("%w", err)
	}
	switch {
	case code != "":
		return Answer{}, &UnknownError{Err: errors.New("the issuer cannot know about this token now")}
	case signed:
		return c.readAnswer(inner, detail, false)
	}
	return c.readAnswer(text, nil, false)
}

// keepRaw is a member whose value is kept as it is.
func keepRaw(name string, into *[]byte) jose.Member {
	return jose.Member{Name: name, Read: func(raw []byte) error { *into = raw; return nil }}
}
