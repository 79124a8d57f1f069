package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage"
)

// errEmbed refuses a relation that the client is not registered for.
var errEmbed = refuse(CodeUnauthorizedClient,
	"The client is not registered to embed tokens of a relation that this takes: see embed of its registration.")

// An embedGrant makes a token that encloses others (draft-yusef-oauth-nested-jwt-08, "Embedded Tokens Request"). The outer
// token is about the subject of subject_token, the client's own token; or about a device whose statement, by a key of its
// user, is among the tokens; or else about the client itself. Every token is verified, bound, unexpired and unrevoked before
// it is embedded. The result has the least of all rights and the earliest end.
type embedGrant struct {
	derivation

	// delegation is the delegation under which a device is countersigned, nil if there is no such device. entry is the index of
	// the device's statement among the tokens.
	delegation *nested.Layer
	entry      int
}

func (g *embedGrant) check(ctx context.Context, _ Reader) (*token, error) {
	t, err := g.derive(ctx, g.embed)
	if err != nil {
		return nil, err
	}
	t.writes = g.delegation != nil
	return t, nil
}

// embed returns the claims of the token.
func (g *embedGrant) embed(ctx context.Context) (claims.Set, error) {
	along, err := g.along()
	if err != nil {
		return claims.Set{}, err
	}
	raw := g.r.Form.Get("tokens")
	if raw == "" {
		return claims.Set{}, refuse(CodeInvalidRequest, "The parameter tokens is missing: a JSON array of the tokens to embed.")
	}
	entries, err := nested.ReadEntries(json.RawMessage(raw), along)
	if err != nil {
		return claims.Set{}, embedded(err)
	}
	for _, e := range entries {
		if !slices.Contains(g.r.client.Embed, e.Relation) {
			return claims.Set{}, errEmbed
		}
	}
	set, err := g.outer(ctx, entries, along)
	if err != nil {
		return claims.Set{}, err
	}
	if set.Tokens, err = nested.Build(entries...); err != nil {
		return claims.Set{}, embedded(err)
	}
	end := set.Expires
	wanted := len(scopeList(g.r.Form.Get("scope"))) > 0
	full := set.Scope
	if !wanted {
		set.Scope = "" // set below, to the part that the grants inside allow
	}
	// An outer token that expires later than an inner one is refused. So it is checked with a life of one second, and then gets
	// the earliest end of all.
	set.Expires = set.IssuedAt.Add(time.Second)
	tree, err := g.checkNested(ctx, set, along)
	if err != nil {
		return claims.Set{}, embedded(err)
	}
	set.Expires = end
	for _, l := range tree.Layers()[1:] {
		set.Expires = earliest(set.Expires, l.Until)
		if l.Relation == nested.ActsFor && !wanted {
			full = common(full, l.Statement.Scope)
		}
	}
	if wanted {
		return set, nil
	}
	bare := set
	bare.Scope = full
	if describeScope(&bare); bare.Handle == set.Handle && bare.Device == set.Device {
		return bare, nil
	}
	// Without its handle or device it is another token, which is checked again.
	_, err = g.checkNested(ctx, bare, along)
	return bare, embedded(err)
}

// embedded turns a refusal of package nested into the answer to the client, with the path of the token at fault.
func embedded(err error) error {
	var refused *nested.Error
	if !errors.As(err, &refused) {
		return err
	}
	return &Error{Code: CodeInvalidEmbeddedToken, Description: strings.TrimPrefix(plain(err), "nested: "), Cause: err}
}

// within is [embedded] for a refusal of a token that was opened by itself. To the client that token is entry i.
func within(i int, err error) error {
	var refused *nested.Error
	if !errors.As(err, &refused) {
		return err
	}
	path := "tokens[" + strconv.Itoa(i) + "]"
	if refused.Path != "" {
		path += "." + refused.Path
	}
	return embedded(&nested.Error{Path: path, Code: refused.Code, Err: refused.Err})
}

// outer returns the claims of the token without the enclosed tokens.
func (g *embedGrant) outer(ctx context.Context, entries []nested.Entry, along []string) (claims.Set, error) {
	if subject := g.r.Form.Get("subject_token"); subject != "" {
		return g.outerOwn(ctx, subject)
	}
	for i, e := range entries {
		if e.Relation == nested.AttestedBy {
			if set, err := g.countersign(ctx, i, e.Token, along); !errors.Is(err, errNoDevice) {
				return set, within(i, err)
			}
		}
	}
	if g.r.client.Public() {
		return claims.Set{}, refuse(CodeInvalidRequest,
			"The parameter subject_token is missing: a public client has no identity of its own.")
	}
	domain, err := g.domainFor(g.r.client, g.r.Form)
	if err != nil {
		return claims.Set{}, err
	}
	if domain == "" && len(g.targets()) == 0 {
		return claims.Set{}, severalDomains(g.r.client)
	}
	set := claims.Set{Issuer: g.issuer, Subject: g.r.client.ID, ClientID: g.r.client.ID, JKT: g.r.proof.JKT}
	if set.Scope, err = g.narrowedScope(strings.Join(g.r.client.Scopes, " ")); err != nil {
		return claims.Set{}, err
	}
	set.Audience, err = g.audience(g.r.client, domain, g.targets())
	g.setLifetime(&set)
	return set, err
}

// outerOwn returns the claims of the client's own token, narrowed, for the outer one.
func (g *embedGrant) outerOwn(ctx context.Context, subject string) (claims.Set, error) {
	if g.r.Form.Get("subject_token_type") != typeAccessToken {
		return claims.Set{}, refuse(CodeInvalidRequest,
			"The subject_token_type must be "+typeAccessToken+found(g.r.Form, "subject_token_type")+".")
	}
	t, err := g.subjectToken(ctx, subject)
	if err != nil {
		return claims.Set{}, err
	}
	if t.Claims.Actor != nil { // an actor can neither pass on its rights nor show the subject's statements
		return claims.Set{}, refuse(CodeInvalidRequest,
			"The subject_token is of one who acts for somebody else: send the actor's own token.")
	}
	if t.Claims.Tokens != nil {
		return claims.Set{}, refuse(CodeInvalidRequest,
			"The subject_token encloses tokens already: send the one that it was made of, and all tokens.")
	}
	return g.narrower(ctx, t)
}

// errNoDevice says that a token is no statement about a device.
var errNoDevice = errors.New("oauth: not a statement about a device")

// Refusals of a device that a user's own key added.
var (
	errDeviceKey   = &nested.Error{Code: nested.CodeBinding, Err: errors.New("the statement is about another key than that of the proof")}
	errDeviceOther = &nested.Error{Code: nested.CodeBinding, Err: errors.New("the statement is about another device: " +
		"its id, or its number under the delegation, is taken, or the key is another device's")}
	errDeviceID = &nested.Error{Code: nested.CodeBinding, Err: errors.New("the statement is about a device whose id is none of this " +
		"server's: " +
		"1 to 64 letters, digits, - and _ in the system of the domain")}
)

// countersign makes the token of a device that a user's own key added, by a statement under a delegation of this server, which
// is entry i. The device is stored in the transaction of this answer. It has no session, so it sends this request again where
// other devices refresh, until the delegation ends. A refusal of the statement is an error of nested, as of a token by itself.
func (g *embedGrant) countersign(ctx context.Context, i int, statement string, along []string) (claims.Set, error) {
	o := g.statements.Options(nested.TypeDevice)
	o.Along = along
	o.Audience = append(o.Audience, g.targets()...) // an enclosed token may be for the audience of the token around it
	tree, err := nested.Open(ctx, statement, o)
	var refused *nested.Error
	switch {
	case errors.As(err, &refused) && refused.Path == "" && refused.Code == nested.CodeType:
		return claims.Set{}, errNoDevice
	case err != nil:
		return claims.Set{}, err
	}
	s := tree.Root.Statement
	if s.JKT != g.r.proof.JKT {
		return claims.Set{}, errDeviceKey
	}
	root := tree.Layers()[len(tree.Layers())-1]
	if root.Issuer != g.issuer || root.Type != nested.TypeDelegation {
		return claims.Set{}, &nested.Error{Path: root.Path, Code: nested.CodeDelegation, Err: errors.New("not a delegation of this server")}
	}
	if g.user, err = g.subject(ctx, g.r.client, s.Subject); err != nil {
		return claims.Set{}, err
	}
	uri, _ := claims.Parser{AllowSingleLabel: true}.Parse(s.Device) // package nested has read it before
	g.device, err = g.accounts.DeviceUnder(ctx, g.user, uri.Device(), s.JKT, root.JTI(), s.Number)
	switch {
	case errors.Is(err, account.ErrKeyInUse):
		return claims.Set{}, errDeviceOther
	case errors.Is(err, account.ErrDeviceID):
		return claims.Set{}, errDeviceID
	case err != nil:
		return claims.Set{}, err
	}
	if g.device.Client == "" { // a new one
		g.device.Client, g.device.Alg = g.r.client.ID, g.r.proof.Alg
	}
	g.delegation, g.entry = root, i

	id, err := g.accounts.Identify(g.user, g.device)
	if err != nil {
		return claims.Set{}, err
	}
	set := claims.Set{
		Issuer: g.issuer, Subject: id.User, Handle: id.Handle, Device: id.Device, ClientID: g.r.client.ID, JKT: g.r.proof.JKT,
		SID: root.JTI(), Gen: g.user.Gen,
	}
	var own []string
	for _, scope := range []string{ScopeHandle, ScopeDevice} {
		if g.r.client.HasScope(scope) {
			own = append(own, scope)
		}
	}
	if set.Scope, err = g.narrowedScope(strings.Join(own, " ")); err != nil {
		return claims.Set{}, err
	}
	describeScope(&set)
	set.Audience, err = g.audience(g.r.client, g.user.Domain, g.targets())
	g.setLifetime(&set)
	return set, err
}

// commit stores the device of a countersignature, if it is new. It fails if the delegation was withdrawn meanwhile.
func (g *embedGrant) commit(ctx context.Context, tx storage.Tx) error {
	return within(g.entry, g.bindDevice(ctx, tx))
}

func (g *embedGrant) bindDevice(ctx context.Context, tx storage.Tx) error {
	s, err := tx.Statement(ctx, g.delegation.JTI())
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if err != nil || !account.Stands(s, g.r.at) {
		return &nested.Error{Path: g.delegation.Path, Code: nested.CodeRevoked}
	}
	added, err := g.accounts.BindDevice(ctx, tx, g.device)
	switch {
	case errors.Is(err, account.ErrKeyInUse), errors.Is(err, storage.ErrConflict):
		return errDeviceOther
	case errors.Is(err, account.ErrTooManyDevices):
		return errDevices
	}
	if g.r.event = nil; added {
		g.r.event = g.r.addedDevice(g.device, "")
	}
	return err
}

// common returns the words of a that b has too.
func common(a, b string) string {
	words := strings.Fields(b)
	return strings.Join(slices.DeleteFunc(strings.Fields(a), func(w string) bool { return !slices.Contains(words, w) }), " ")
}
