package nested

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// A Statement holds the claims of a token that says one thing. Its type determines which claims it has, see [Statement.Sign]; the
// others are zero. docs/nested-verifiers.md has the table.
type Statement struct {
	Type     string   // typ
	Issuer   string   // iss: the URL of the issuer, or Subject if the user's own key signs
	Subject  string   // sub: a user's URI, or that of the group that a user is a member of
	Audience []string // aud: the verifiers, and the issuers that may embed it
	JTI      string   // jti
	IssuedAt time.Time
	// NotBefore is nbf; zero means IssuedAt.
	NotBefore time.Time
	Expires   time.Time
	// Status is the status of a statement that was read. [Open] refuses such a statement unless [Options].Status checks it, and
	// [Statement.Sign] does not sign one.
	Status *claims.Status

	// Handle is the handle of the subject, for display; in im-rename+jwt the new one. Only issuers may state handles.
	Handle string
	// OldHandle is the old_handle of im-rename+jwt.
	OldHandle string
	// Party is the other user of the statement, beside its subject: the sub of may_act, or same_as, moved_to, member or
	// guardian. Of im-actor+jwt it may be a client id of PartyIssuer.
	Party string
	// PartyIssuer is the iss of may_act.
	PartyIssuer string
	// Scope is the scope of the actor, words separated by spaces.
	Scope string
	// Role is the role of a member, as free text.
	Role string
	// Device is the URI of a device, and Number its number among the devices of its delegation, from 1.
	Device string
	Number int
	// JKT is cnf.jkt: the thumbprint of the user's key in im-delegation+jwt, and of the device's key in im-device+jwt.
	JKT string
	// Limits are the limits on what the user's key may sign.
	Limits *Limits
	// Tokens is the raw JSON array of nested tokens, see [Build].
	Tokens json.RawMessage
}

// A kind describes one type of statement.
type kind struct {
	typ      string
	required []string // claims in addition to the common ones
	optional []string
	byUser   bool // a user's key may sign it
	byIssuer bool // an issuer may sign it
}

var kinds = []kind{
	{TypeActor, []string{"may_act", "scope"}, []string{"handle"}, true, true},
	{TypeDelegation, []string{"cnf", "limits"}, []string{"handle"}, true, true},
	{TypeDevice, []string{"device", "number", "cnf"}, nil, true, false},
	{TypeLink, []string{"same_as"}, []string{"handle"}, true, true},
	{TypeRename, []string{"handle", "old_handle"}, nil, false, true},
	{TypeMove, []string{"moved_to"}, []string{"handle"}, false, true},
	{TypeMember, []string{"member"}, []string{"role"}, false, true},
	{TypeGuardian, []string{"guardian"}, []string{"handle"}, false, true},
}

// requiredClaims are the claims that every statement has, commonClaims the ones that every statement may have.
var (
	requiredClaims = []string{"iss", "sub", "aud", "jti", "iat", "exp"}
	commonClaims   = append(requiredClaims[:len(requiredClaims):len(requiredClaims)], "nbf", "status", "tokens", "njwt")
)

// ownClaims are the claims of some type of statement, or of access tokens. A statement with a claim of another type is refused, so
// that two readers cannot read it in two ways.
var ownClaims = []string{
	"act", "acr", "amr", "auth_time", "client_id", "cnf", "device", "gen", "guardian", "handle", "home_iss", "limits",
	"may_act", "member", "moved_to", "number", "old_handle", "role", "same_as", "scope", "sid",
}

func kindOf(typ string) *kind {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.typ == typ })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

// party returns the claim that holds [Statement.Party]. It returns "" for types without one, and for im-actor+jwt, which has may_act.
func (k *kind) party() string {
	for _, name := range []string{"same_as", "moved_to", "member", "guardian"} {
		if slices.Contains(k.required, name) {
			return name
		}
	}
	return ""
}

// ParseStatement reads the claims of a stored statement of type typ, as they were signed. It checks the form, but neither times nor
// the signature.
func ParseStatement(typ string, payload []byte) (Statement, error) {
	k := kindOf(typ)
	if k == nil {
		return Statement{}, fmt.Errorf("nested: %s is not a type of statement", typ)
	}
	s, err := parseStatement(k, payload)
	if err != nil {
		return Statement{}, fmt.Errorf("nested: statement: %w", err)
	}
	return *s, nil
}

// parseStatement reads the payload of a statement. It checks its form, and that it has no claims of other types.
func parseStatement(k *kind, payload []byte) (*Statement, error) {
	set, err := claims.ParseSet(payload)
	if err != nil {
		return nil, err
	}
	s := &Statement{
		Type: k.typ, Issuer: set.Issuer, Subject: set.Subject, Audience: set.Audience, JTI: set.JTI,
		IssuedAt: set.IssuedAt, NotBefore: set.NotBefore, Expires: set.Expires, Status: set.Status,
		Handle: set.Handle, Scope: set.Scope, Device: set.Device, JKT: set.JKT, Tokens: set.Tokens,
	}
	if set.MayAct != nil {
		s.Party, s.PartyIssuer = set.MayAct.Subject, set.MayAct.Issuer
	}
	party := k.party()
	err = jose.Object(payload, func(name string, value []byte) (err error) {
		switch {
		case slices.Contains(commonClaims, name):
			return nil
		case !slices.Contains(ownClaims, name):
			if err := jose.CheckCase(name, ownClaims); err != nil {
				return err
			}
			return jose.CheckCase(name, commonClaims)
		case !slices.Contains(k.required, name) && !slices.Contains(k.optional, name):
			return fmt.Errorf("%s: not a claim of %s", name, k.typ)
		}
		switch name {
		case party:
			s.Party, err = jose.String(value)
		case "old_handle":
			s.OldHandle, err = jose.String(value)
		case "role":
			s.Role, err = jose.String(value)
		case "number":
			s.Number, err = count(value)
		case "limits":
			s.Limits, err = parseLimits(value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return s, err
}

// count reads a whole number from 1 to 1e9, which is about thirty years in seconds.
func count(raw []byte) (int, error) {
	n, err := strconv.Atoi(string(raw)) // JSON has no numbers like +1 and 01
	if err != nil || n < 1 || n > 1e9 {
		return 0, errors.New("not an integer from 1 to 1000000000")
	}
	return n, nil
}

// byUser reports whether the statement claims to be signed by the user's own key.
func (s *Statement) byUser() bool { return s.Issuer == s.Subject }

// validate checks that the statement is complete, and that its identifiers have the right types and agree. It knows neither time nor
// keys.
func (s *Statement) validate(p claims.Parser) error {
	k := kindOf(s.Type)
	if k == nil {
		return fmt.Errorf("typ: %w", claims.ErrMalformed)
	}
	for _, names := range [...][]string{requiredClaims, k.required} {
		for _, name := range names {
			if s.absent(name) {
				return &claims.ClaimError{Claim: name, Err: claims.ErrMissing}
			}
		}
	}
	switch {
	case !s.IssuedAt.Before(s.Expires):
		return &claims.ClaimError{Claim: "exp", Err: claims.ErrMalformed}
	case s.byUser() && !k.byUser, !s.byUser() && !k.byIssuer:
		return &claims.ClaimError{Claim: "iss", Err: claims.ErrIssuer}
	case s.byUser() && s.Handle != "": // only issuers may state handles
		return &claims.ClaimError{Claim: "handle", Err: claims.ErrIssuer}
	case s.JKT != "" && !jose.IsThumbprint(s.JKT):
		return &claims.ClaimError{Claim: "cnf", Err: claims.ErrMalformed}
	case s.Limits != nil:
		if err := s.Limits.validate(); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
	}
	if len(s.JTI) > MaxJTI {
		return &claims.ClaimError{Claim: "jti", Err: fmt.Errorf("longer than %d bytes", MaxJTI)}
	}
	if err := checkLife(s.IssuedAt, s.Expires); err != nil {
		return err
	}
	if s.Type == TypeActor {
		if err := s.validateActor(); err != nil {
			return err
		}
	}
	return s.validateNames(p)
}

// absent reports whether a required claim is missing.
func (s *Statement) absent(name string) bool {
	switch name {
	case "iss":
		return s.Issuer == ""
	case "sub":
		return s.Subject == ""
	case "aud":
		return len(s.Audience) == 0
	case "jti":
		return s.JTI == ""
	case "iat":
		return s.IssuedAt.IsZero()
	case "exp":
		return s.Expires.IsZero()
	case "may_act", "same_as", "moved_to", "member", "guardian":
		return s.Party == ""
	case "scope":
		return s.Scope == ""
	case "cnf":
		return s.JKT == ""
	case "limits":
		return s.Limits == nil
	case "device":
		return s.Device == ""
	case "number":
		return s.Number == 0
	case "handle":
		return s.Handle == ""
	case "old_handle":
		return s.OldHandle == ""
	}
	return false
}

// validateActor checks that the actor is an identifier or can be the id of a client, and that the issuer can be a URL.
func (s *Statement) validateActor() error {
	_, err := (claims.Parser{AllowSingleLabel: true}).Parse(s.Party)
	// RFC 6749 appendix A.1: client-id = *VSCHAR, which are the printable characters of ASCII and space.
	if err != nil && strings.ContainsFunc(s.Party, func(r rune) bool { return r < ' ' || r > '~' }) {
		return &claims.ClaimError{Claim: "may_act", Err: errors.New("sub is neither an identifier nor a client id")}
	}
	if strings.ContainsFunc(s.PartyIssuer, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &claims.ClaimError{Claim: "may_act", Err: errors.New("iss is not a URL")}
	}
	return nil
}

// validateNames checks the identifiers.
func (s *Statement) validateNames(p claims.Parser) error {
	if s.Type == TypeMember {
		id, err := p.Parse(s.Subject)
		switch {
		case err != nil:
			return &claims.ClaimError{Claim: "sub", Err: err}
		case id.Type() == claims.TypeDevice || id.Unscoped():
			return &claims.ClaimError{Claim: "sub", Err: claims.ErrMalformed}
		}
		return nil
	}
	handles := []string{s.Handle}
	if s.OldHandle != "" {
		handles = append(handles, s.OldHandle)
	}
	for _, handle := range handles {
		set := claims.Set{Subject: s.Subject, Handle: handle, Device: s.Device}
		id, err := set.Identity()
		switch {
		case err != nil:
			return err
		case id.User.Unscoped():
			return &claims.ClaimError{Claim: "sub", Err: claims.ErrMalformed}
		case !id.Handle.IsZero() && id.Handle.Domain() != id.User.Domain():
			return &claims.ClaimError{Claim: "handle", Err: claims.ErrMismatch}
		case !id.Device.IsZero() && (id.Device.Domain() != id.User.Domain() || id.Device.Local() != id.User.Local()):
			return &claims.ClaimError{Claim: "device", Err: claims.ErrMismatch}
		}
	}
	switch {
	case s.Type == TypeRename && s.Handle == s.OldHandle:
		return &claims.ClaimError{Claim: "old_handle", Err: claims.ErrMalformed}
	case s.Party == s.Subject: // nobody is their own guardian, actor, successor or other identity
		return &claims.ClaimError{Claim: "sub", Err: claims.ErrMalformed}
	}
	return nil
}
