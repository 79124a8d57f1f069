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

// errEmbed is about a relation that is none of the client's.
var errEmbed = refuse(CodeUnauthorizedClient, "The client is not registered to embed tokens of a relation that this takes: see embed of its registration.")

// embed makes a token that encloses others (draft-yusef-oauth-nested-jwt-08, "Embedded Tokens Request"). The outer token is
// about the subject of subject_token, the client's own; about a device, if her user's key took it in and its statement is
// among the tokens; or else about the client itself. Every token is verified, bound, unexpired and unrevoked before it is
// embedded, and the whole has the least of all rights and the earliest end.
func (p *Provider) embed(ctx context.Context, f *flow) (claims.Set, error) {
	along, err := f.along()
	if err != nil {
		return claims.Set{}, err
	}
	raw := f.form.Get("tokens")
	if raw == "" {
		return claims.Set{}, refuse(CodeInvalidRequest, "The parameter tokens is missing: a JSON array of the tokens to embed.")
	}
	entries, err := nested.ReadEntries(json.RawMessage(raw), along)
	if err != nil {
		return claims.Set{}, embedded(err)
	}
	for _, e := range entries {
		if !slices.Contains(f.client.Embed, e.Relation) {
			return claims.Set{}, errEmbed
		}
	}
	set, err := p.outer(ctx, f, entries, along)
	if err != nil {
		return claims.Set{}, err
	}
	if set.Tokens, err = nested.Build(entries...); err != nil {
		return claims.Set{}, embedded(err)
	}
	end := set.Expires
	wanted := len(scopeList(f.form.Get("scope"))) > 0
	full := set.Scope
	if !wanted {
		set.Scope = "" // what the grants inside leave of it, below
	}
	// No inner token says that the outer one must live: so checked for a moment, it is good for as long as all are.
	set.Expires = set.IssuedAt.Add(time.Second)
	tree, err := p.checkNested(ctx, f, set, along)
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
	if wanted || set.Scope == full {
		return set, nil
	}
	set.Scope = full
	bare := set
	if describeScope(&bare); bare.Handle == set.Handle && bare.Device == set.Device {
		return set, nil
	}
	// What is left of the scope does not cover the handle or the device: it is another token then.
	_, err = p.checkNested(ctx, f, bare, along)
	return bare, embedded(err)
}

// along are the tokens that go beside the token, for entries that name them by digest.
func (f *flow) along() ([]string, error) {
	raw := f.form.Get("im_along")
	if raw == "" {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		return nil, refuse(CodeInvalidRequest, "The parameter im_along must be a JSON array of tokens.")
	}
	return list, nil
}

// embedded makes of a refusal of nested the answer to the client, with the path of the token at fault.
func embedded(err error) error {
	var refused *nested.Error
	if !errors.As(err, &refused) {
		return err
	}
	return &Error{Code: CodeInvalidEmbeddedToken, Description: strings.TrimPrefix(plain(err), "nested: "), Cause: err}
}

// within makes of a refusal of a token that was opened by itself the answer to the client, for which it is the entry i.
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

// outer says what the token would be without what it encloses.
func (p *Provider) outer(ctx context.Context, f *flow, entries []nested.Entry, along []string) (claims.Set, error) {
	if subject := f.form.Get("subject_token"); subject != "" {
		return p.outerOwn(ctx, f, subject)
	}
	for i, e := range entries {
		if e.Relation == nested.AttestedBy {
			if set, err := p.countersign(ctx, f, i, e.Token, along); !errors.Is(err, errNoDevice) {
				return set, within(i, err)
			}
		}
	}
	if f.client.Public() {
		return claims.Set{}, refuse(CodeInvalidRequest, "The parameter subject_token is missing: a public client has no identity of its own.")
	}
	domain, err := p.domainFor(f.client, f.form)
	if err != nil {
		return claims.Set{}, err
	}
	set := claims.Set{Issuer: p.issuer, Subject: f.client.ID, ClientID: f.client.ID, JKT: f.proof.JKT}
	if set.Scope, err = f.narrowed(strings.Join(f.client.Scopes, " ")); err != nil {
		return claims.Set{}, err
	}
	set.Audience, err = p.audience(f.client, domain, f.targets())
	p.lifetime(f, &set)
	return set, err
}

// outerOwn takes the client's own token for the outer one.
func (p *Provider) outerOwn(ctx context.Context, f *flow, subject string) (claims.Set, error) {
	if f.form.Get("subject_token_type") != typeAccessToken {
		return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token_type must be "+typeAccessToken+found(f.form, "subject_token_type")+".")
	}
	t, err := p.openOwn(ctx, subject)
	if errors.Is(err, errInactive) {
		return claims.Set{}, errSubject
	} else if err != nil {
		return claims.Set{}, err
	}
	if t.Actor != nil { // what she let it do goes no further, and what is said of her is not its own to show
		return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token is of one who acts for somebody else: send the actor's own token.")
	}
	if t.Tokens != nil {
		return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token encloses tokens already: send the one that it was made of, and all tokens.")
	}
	return p.exchangeOwn(ctx, f, t)
}

// errNoDevice says that a token is no statement about a device.
var errNoDevice = errors.New("oauth: not a statement about a device")

// Refusals of a device that a user's own key took in.
var (
	errDeviceKey   = &nested.Error{Code: nested.CodeBinding, Err: errors.New("the statement is about another key than that of the proof")}
	errDeviceOther = &nested.Error{Code: nested.CodeBinding, Err: errors.New("the statement is about another device: its id, or its number under the delegation, is taken, or the key is another device's")}
	errDeviceID    = &nested.Error{Code: nested.CodeBinding, Err: errors.New("the statement is about a device whose id is none of this server's: 1 to 64 letters, digits, - and _ in the system of the domain")}
)

// countersign makes the token of a device that a user's own key took in, by a statement under a delegation of this server,
// which is entry i. The device comes to be in the transaction of this answer; it has no session, and asks again where others
// refresh. It ends with the delegation. A refusal of the statement is an error of nested, as of a token by itself.
func (p *Provider) countersign(ctx context.Context, f *flow, i int, statement string, along []string) (claims.Set, error) {
	o := p.opening(nested.TypeDevice)
	o.Along = along
	o.Audience = append(o.Audience, f.targets()...) // like all that is embedded, it may be for whom the token is for
	tree, err := nested.Open(ctx, statement, o)
	var refused *nested.Error
	switch {
	case errors.As(err, &refused) && refused.Path == "" && refused.Code == nested.CodeType:
		return claims.Set{}, errNoDevice
	case err != nil:
		return claims.Set{}, err
	}
	s := tree.Root.Statement
	if s.JKT != f.proof.JKT {
		return claims.Set{}, errDeviceKey
	}
	root := tree.Layers()[len(tree.Layers())-1]
	if root.Issuer != p.issuer || root.Type != nested.TypeDelegation {
		return claims.Set{}, &nested.Error{Path: root.Path, Code: nested.CodeDelegation, Err: errors.New("not a delegation of this server")}
	}
	if f.user, err = p.subject(ctx, f.client, s.Subject); err != nil {
		return claims.Set{}, err
	}
	uri, err := claims.Parser{AllowSingleLabel: true}.Parse(s.Device)
	if err != nil {
		return claims.Set{}, errDeviceID
	}
	f.device, err = p.accounts.DeviceUnder(ctx, f.user, uri.Device(), s.JKT, root.JTI(), s.Number)
	switch {
	case errors.Is(err, account.ErrKeyInUse):
		return claims.Set{}, errDeviceOther
	case errors.Is(err, account.ErrDeviceID):
		return claims.Set{}, errDeviceID
	case err != nil:
		return claims.Set{}, err
	}
	if f.device.Client == "" { // a new one
		f.device.Client = f.client.ID
	}
	f.then(func(ctx context.Context, tx storage.Tx) error { return within(i, p.takeIn(ctx, tx, f, root)) })

	id, err := p.accounts.Identify(f.user, f.device)
	if err != nil {
		return claims.Set{}, err
	}
	set := claims.Set{
		Issuer: p.issuer, Subject: id.User, Handle: id.Handle, Device: id.Device, ClientID: f.client.ID, JKT: f.proof.JKT,
		SID: root.JTI(), Gen: f.user.Gen,
	}
	var own []string
	for _, scope := range []string{ScopeHandle, ScopeDevice} {
		if f.client.HasScope(scope) {
			own = append(own, scope)
		}
	}
	if set.Scope, err = f.narrowed(strings.Join(own, " ")); err != nil {
		return claims.Set{}, err
	}
	describeScope(&set)
	set.Audience, err = p.audience(f.client, f.user.Domain, f.targets())
	p.lifetime(f, &set)
	return set, err
}

// takeIn is the unit of work of a countersignature: the delegation still stands, and the device is there or comes to be.
func (p *Provider) takeIn(ctx context.Context, tx storage.Tx, f *flow, delegation *nested.Layer) error {
	s, err := tx.Statement(ctx, delegation.JTI())
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if err != nil || !account.Stands(s, f.now) {
		return &nested.Error{Path: delegation.Path, Code: nested.CodeRevoked}
	}
	switch _, err := p.accounts.BindDevice(ctx, tx, f.device); {
	case errors.Is(err, account.ErrKeyInUse), errors.Is(err, storage.ErrConflict):
		return errDeviceOther
	case errors.Is(err, account.ErrTooManyDevices):
		return errDevices
	default:
		return err
	}
}

// common returns the words of a that b has too.
func common(a, b string) string {
	words := strings.Fields(b)
	return strings.Join(slices.DeleteFunc(strings.Fields(a), func(w string) bool { return !slices.Contains(words, w) }), " ")
}
