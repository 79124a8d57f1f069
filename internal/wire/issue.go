package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/holder"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/storage"
)

// A Token is what a device sends to step-ca in the payload of the challenge.
type Token struct {
	Text string
	Life time.Duration
}

// Issue makes a token for the Wire proof in the body of a request. The access token of the request is active, for this issuer alone, has
// [Scope], and its key was proved. From is the address of the request (the zero Addr if it is not known).
//
// The rows decide, in the transaction that records the event: session, device, user and client are live, device and handle are those
// that the proof names, and its key belongs to no device and no credential. A refusal is an [*Error], a [*holder.TokenError],
// [holder.ErrEnded] or an error of the limiter, and the proof was not spent, unless it was before. Any other error means that nothing was
// decided.
func (s *Service) Issue(ctx context.Context, token claims.Set, body []byte, from netip.Addr) (Token, error) {
	by, err := holder.Of(token, Scope)
	if err != nil {
		return Token{}, fmt.Errorf("wire: %w", err)
	}
	domain, ok := s.cfg.Domains[by.Domain]
	if !ok {
		return Token{}, refuse(Denied,
			"The domain of the user has no certificate authority of Wire: the operator names its provisioners in domains[].wire.")
	}
	text, err := ParseRequest(body)
	if err != nil {
		return Token{}, err
	}
	unverified, err := s.proofs.ReadWireProof(ctx, text, s.target)
	if err != nil {
		return Token{}, refusedProof(err)
	}
	at := slices.IndexFunc(domain.Provisioners, func(p Provisioner) bool { return p.Has(unverified.Claimed.Audience) })
	switch {
	case at < 0:
		return Token{}, refuseClaim("aud", "not the URL of a challenge of a certificate authority that the domain uses")
	case unverified.Claimed.Team != domain.Team:
		return Token{}, refuseClaim("team", "not the team of the domain, which is "+team(domain.Team))
	}
	if err := s.cfg.Limiter.User(storage.User{Domain: by.Domain, ID: by.User}, by.Client); err != nil {
		return Token{}, err
	}
	// Before the rows of other devices are read: only the holder of a key may learn that it is in use.
	proof, err := unverified.Verify()
	if err != nil {
		return Token{}, refusedProof(err)
	}
	i := issuance{Service: s, by: by, domain: domain, proof: proof, text: text, provisioner: domain.Provisioners[at], from: from}
	if !s.cfg.SpendInUpdate {
		if err := i.decide(ctx, s.cfg.Store); err != nil {
			return Token{}, err
		}
		if err := i.spend(ctx); err != nil {
			return Token{}, err
		}
	}
	if err := i.record(ctx); err != nil {
		return Token{}, err
	}
	return i.signed, nil
}

// team names a team for an error.
func team(name string) string {
	if name == "" {
		return "null"
	}
	return name
}

// An issuance is a request whose proof is verified.
type issuance struct {
	*Service
	by          holder.Holder
	domain      Domain
	proof       *dpop.WireProof
	text        string // of the proof
	provisioner Provisioner
	from        netip.Addr

	spent  bool
	signed Token
}

// decide reads the rows, and refuses the request if they do.
func (i *issuance) decide(ctx context.Context, r storage.Reader) error {
	u, d, err := i.by.Rows(ctx, r, i.cfg.Clients, i.cfg.Now())
	if err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	return i.compare(ctx, r, i.domain, u, d, i.proof)
}

// spend spends the proof, once.
func (i *issuance) spend(ctx context.Context) error {
	if i.spent {
		return nil
	}
	if err := i.proofs.SpendWireProof(ctx, i.proof, i.from); err != nil {
		return refusedProof(err)
	}
	i.spent = true
	return nil
}

// record decides again, signs, and records the event in the same transaction.
func (i *issuance) record(ctx context.Context) error {
	return i.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { // it may be run again
		if err := i.decide(ctx, tx); err != nil {
			return err
		}
		key, err := i.cfg.Key.Read(ctx, tx)
		if err != nil {
			return fmt.Errorf("wire: read the signing key: %w", err)
		}
		if err := i.spend(ctx); err != nil {
			return err
		}
		now := i.cfg.Now().Truncate(time.Second)
		expires := now.Add(Life)
		if i.proof.Expires.Before(expires) {
			expires = i.proof.Expires
		}
		body, err := i.claims(now, expires)
		if err != nil {
			return err
		}
		if i.signed.Text, err = key.Sign(jose.TypeWireToken, body); err != nil {
			return fmt.Errorf("wire: %w", err)
		}
		i.signed.Life = max(0, expires.Sub(now))
		return audit.Append(ctx, tx, audit.Event{
			Kind: audit.WireTokenIssued, Domain: i.by.Domain, User: i.by.User, Device: i.by.Device, Session: i.by.Session, Key: key.KID,
			Peer: i.provisioner.String(),
		})
	})
}

// apiVersion is the version of the protocol between clients of Wire and step-ca that the token is of.
const apiVersion = 5

// claims returns the claims of a token, as JSON.
func (i *issuance) claims(now, expires time.Time) ([]byte, error) {
	jti, err := random.Text(i.cfg.Rand, 16)
	if err != nil {
		return nil, fmt.Errorf("wire: make an id: %w", err)
	}
	p := i.proof
	return json.Marshal(struct {
		Issuer    string            `json:"iss"`
		Audience  string            `json:"aud"`
		Subject   string            `json:"sub"`
		Client    string            `json:"client_id"`
		Handle    string            `json:"handle"`
		Confirm   map[string]string `json:"cnf"`
		Scope     string            `json:"scope"`
		Challenge string            `json:"chal"`
		Nonce     string            `json:"nonce"`
		Proof     string            `json:"proof"`
		IssuedAt  int64             `json:"iat"`
		Expires   int64             `json:"exp"`
		ID        string            `json:"jti"`
		Version   int               `json:"api_version"`
	}{
		Issuer: i.target, Audience: p.Audience, Subject: p.Device, Client: p.Device, Handle: p.Handle,
		// RFC 9449 §6.1 has jkt; step-ca reads kid.
		Confirm: map[string]string{"jkt": p.JKT, "kid": p.JKT}, Scope: "wire_client_id",
		Challenge: p.Challenge, Nonce: p.Nonce, Proof: i.text, IssuedAt: now.Unix(), Expires: expires.Unix(), ID: jti, Version: apiVersion,
	})
}
