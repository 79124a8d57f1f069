package sasl

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/jose"
)

// Version is the version of the line protocol.
const Version = 1

const (
	maxLine = 64 << 10 // of a request
	maxID   = 64
)

// A request is one line of the chat server.
type request struct {
	id, op  string
	domain  string // start
	nonce   string // verify: that of the challenge
	message *Message
	account string
}

// parseRequest reads a line. After an error, the id is set if it could be read.
func parseRequest(line []byte) (request, error) {
	var r request
	var response, token, presentation string
	version := false
	err := jose.ReadMembers(line,
		jose.Member{Name: "v", Read: func(raw []byte) error {
			if version = string(raw) == "1"; !version {
				return errors.New("not 1, the version that this helper speaks")
			}
			return nil
		}},
		jose.Member{Name: "id", Text: &r.id, Required: true, Max: maxID},
		jose.Member{Name: "op", Text: &r.op, Required: true},
		jose.Member{Name: "domain", Text: &r.domain},
		jose.Member{Name: "nonce", Text: &r.nonce},
		jose.Member{Name: "response", Text: &response},
		jose.Member{Name: "token", Text: &token},
		jose.Member{Name: "presentation", Text: &presentation},
		jose.Member{Name: "account", Text: &r.account},
	)
	var part *jose.ParseError
	switch {
	case errors.As(err, &part):
		return r, fmt.Errorf("%s: %w", part.Part, part.Err)
	case err != nil:
		return r, err
	case !version:
		return r, errors.New("v: missing")
	case r.op == "start":
		return r, nil
	case r.op != "verify":
		return r, errors.New("op: neither start nor verify")
	case r.nonce == "":
		return r, errors.New("nonce: missing")
	case response != "" && (token != "" || presentation != ""):
		return r, errors.New("response: excludes token and presentation")
	case response == "":
		r.message = &Message{Scheme: "dpop", Token: token, Presentation: presentation}
		return r, nil
	}
	data, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return r, errors.New("response: not base64")
	}
	m, err := ParseMessage(data)
	if err == nil {
		r.message = &m
	}
	return r, err
}

// The results of a request.
const (
	resultChallenge = "challenge"
	resultYes       = "yes"
	resultNo        = "no"
	resultUnknown   = "unknown" // nothing was decided
	resultInvalid   = "invalid" // the request is not well-formed: a fault of the chat server
)

// An answer is one line to the chat server.
type answer struct {
	Version int    `json:"v"`
	ID      string `json:"id,omitempty"`
	Result  string `json:"result"`
	// Of a start: the nonce for the verify that follows.
	Nonce string `json:"nonce,omitempty"`
	// The text to send as a SASL challenge: that of a start, or the error of a refused exchange (RFC 7628 §3.2.2).
	Challenge string `json:"challenge,omitempty"`
	// Of a yes.
	Account   string `json:"account,omitempty"`
	Username  string `json:"username,omitempty"`
	User      string `json:"user,omitempty"`
	Handle    string `json:"handle,omitempty"`
	Device    string `json:"device,omitempty"`
	Scope     string `json:"scope,omitempty"`
	ExpiresIn int64  `json:"expires_in,omitempty"`
	// Of a no or an unknown.
	Condition string `json:"condition,omitempty"`
	Error     string `json:"error,omitempty"`
	Text      string `json:"text,omitempty"`
}

func (a *Challenge) text() string { return marshal(a) }

// failure returns the text of the error challenge for a refusal.
func (r *Refusal) failure() string {
	return marshal(struct {
		Status      string `json:"status"`
		Description string `json:"error_description"`
	}{r.Code, r.Text})
}

func marshal(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(text)
}

// newAnswer returns the answer to a verify.
func newAnswer(id string, identity *Identity, err error) answer {
	a := answer{Version: Version, ID: id}
	var no *Refusal
	switch {
	case err == nil:
		a.Result, a.Account, a.Username, a.User = resultYes, identity.Account, identity.Username, identity.User
		a.Handle, a.Device, a.Scope, a.ExpiresIn = identity.Handle, identity.Device, identity.Scope, identity.ExpiresIn
	case errors.As(err, &no):
		a.Result, a.Condition, a.Error, a.Text, a.Challenge = resultNo, no.Condition, no.Code, no.Text, no.failure()
	default: // the cause is for the log
		a.Result, a.Condition, a.Text = resultUnknown, TemporaryFailure, "The issuer cannot be asked now. Try again later."
	}
	return a
}
