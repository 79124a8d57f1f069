package introspect

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
)

// The refusals of a [Question] about the holder, whatever its token is.
var (
	// ErrNotItsURL is returned for a proof for a URL that is not under one of the caller's resources.
	ErrNotItsURL = errors.New("introspect: the URL of the proof is not under a resource of the caller")
	// ErrNotItsName is returned for a presentation to another verifier.
	ErrNotItsName = errors.New("introspect: the audience of the presentation is not a name of the caller")
)

// Shown is what the holder of a token showed to the caller: a proof (RFC 9449 §4.2) with a request, or a presentation outside HTTP.
// The other one is empty.
type Shown struct {
	Proof       string
	Method, URL string // of the request that the proof came with
	// Nonce is what the caller gave to the holder: the nonce of the presentation, or that of the proof, empty if it gave none.
	Nonce        string
	Presentation string
	Audience     string // the name of the caller that the presentation is for
}

// given reports whether there is a proof or a presentation.
func (s *Shown) given() bool { return s.Proof != "" || s.Presentation != "" }

// mayAsk returns nil if what was shown is for the caller.
func (s *Shown) mayAsk(c *Caller) error {
	if s.Proof != "" && !slices.ContainsFunc(c.Resources, func(r string) bool { return under(s.URL, r) }) {
		return ErrNotItsURL
	}
	if s.Presentation != "" && !c.named(s.Audience) {
		return ErrNotItsName
	}
	return nil
}

// under reports whether a URL is a registered one or lies below it: https://a.example/v1/rooms below https://a.example/v1, and not
// https://a.example/v10.
func under(url, registered string) bool {
	got, err := dpop.NormalizeHTU(url)
	if err != nil {
		return false
	}
	base, err := dpop.NormalizeHTU(registered)
	if err != nil {
		return false // an audience that is no URL
	}
	return got == base || strings.HasPrefix(got, strings.TrimSuffix(base, "/")+"/")
}

// named reports whether an audience is a name of the caller: one of its resources, a URL below one, or a URI in one of its domains, such
// as that of the domain, a device or a room.
func (c *Caller) named(audience string) bool {
	if slices.ContainsFunc(c.Resources, func(r string) bool { return audience == r || under(audience, r) }) {
		return true
	}
	if domain, ok := claims.DomainOf(audience); ok && slices.Contains(c.Domains, domain) {
		return true
	}
	id, err := (claims.Parser{AllowSingleLabel: true}).Parse(audience)
	return err == nil && slices.Contains(c.Domains, id.Domain())
}

// window is how long before and after the present a proof or a presentation may be dated, together. A store of spent proofs that is
// younger may have forgotten one of them.
const window = 75 * time.Second

// holds reports whether what was shown proves that its sender holds the key of an active token, and records that it was used. An error
// means that this cannot be known now.
//
// What was used is remembered for each owner of callers: no caller can use up a proof that was shown to another. A store that is
// full refuses the owners that fill it.
func (i *Introspector) holds(ctx context.Context, c *Caller, t *token, text string, s *Shown) (bool, error) {
	if i.cfg.Replay == nil {
		return false, errors.New("introspect: Config.Replay is required for questions about the holder")
	}
	if t.JKT == "" {
		return false, nil
	}
	owner := sha256.Sum256([]byte(c.owner()))
	v, err := dpop.NewVerifier(dpop.Config{
		Algorithms: i.cfg.ProofAlgorithms, Replay: i.cfg.Replay, Now: i.cfg.Now,
		Namespace: "holder " + base64.RawURLEncoding.EncodeToString(owner[:]),
	})
	if err != nil {
		return false, err
	}
	// Of a network in 100::/8, which is reserved (RFC 4291 §4): no request comes from there.
	source := netip.AddrFrom16([16]byte{0: 1, 1: owner[0], owner[1], owner[2], owner[3], owner[4], owner[5], owner[6]})
	if s.Proof != "" {
		err = checkProof(ctx, v, t.JKT, text, s, source)
	} else {
		err = checkPresentation(ctx, v, t.JKT, text, s, source)
	}
	var refused *dpop.ProofError
	switch {
	case err == nil:
		return true, nil
	case !errors.As(err, &refused):
		return false, err
	case refused.Part == "iat":
		// The time may be refused because the store is too young to know whether this was used before. That is no answer.
		e, err := i.cfg.Replay.Epoch(ctx)
		if err != nil {
			return false, err
		}
		if i.cfg.Now().Unix() < e.Birth+int64(window/time.Second) {
			return false, errYoung
		}
	}
	return false, nil
}

var errYoung = errors.New("introspect: the store of spent proofs is too young to know this one")

// errShown refuses what was shown.
var errShown = &dpop.ProofError{Part: "shown", Err: dpop.ErrInvalidProof}

func checkProof(ctx context.Context, v *dpop.Verifier, jkt, token string, s *Shown, source netip.Addr) error {
	claimed, err := v.Read(ctx, dpop.Request{Method: s.Method, URL: s.URL, Proofs: []string{s.Proof}, AccessToken: token})
	if err != nil {
		return err
	}
	if claimed.JKT() != jkt {
		return errShown
	}
	proof, err := claimed.Verify()
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(proof.Nonce), []byte(s.Nonce)) == 0 {
		return errShown
	}
	return v.Spend(ctx, proof, source)
}

func checkPresentation(ctx context.Context, v *dpop.Verifier, jkt, token string, s *Shown, source netip.Addr) error {
	p, err := v.CheckPresentation(ctx, dpop.PresentationRequest{
		Presentation: s.Presentation, Audiences: []string{s.Audience}, Nonce: s.Nonce, AccessToken: token, JKT: jkt,
	})
	if err != nil {
		return err
	}
	return v.SpendPresentation(ctx, p, source)
}
