package vci

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/holder"
	"github.com/imidentity/issuer/storage"
)

// Issued are the credentials that were issued for a request.
type Issued struct {
	// Configuration is the id of their credential configuration.
	Configuration string
	// Credentials are in the order of the key proofs, each as JSON has it: a string, or a value that is marshalled to an object.
	Credentials []any
}

// Issue issues a credential for each key proof of a request, all or none. The token of the request is active, for this issuer alone, has
// [Scope], and its key was proved. From is the address of the request (the zero Addr if it is not known).
//
// The rows decide, in the transaction that records the credentials: session, device, user and client are live, the token is of the
// user's present generation, no key belongs to another device, the device has fewer than [MaxPerDevice] credentials, and it was given
// fewer than [MaxStored]. The handle is that of the user's row. A refusal is an [*Error], a [*holder.TokenError], [holder.ErrEnded],
// [ErrLoginAge] or an error of the limiter, and no key proof was spent, unless one was used before: then those that precede it were. Any
// other error means that nothing is known to have been decided.
func (s *Service) Issue(ctx context.Context, token claims.Set, body []byte, from netip.Addr) (Issued, error) {
	by, err := holder.Of(token, Scope)
	if err != nil {
		return Issued{}, fmt.Errorf("vci: %w", err)
	}
	request, err := ParseRequest(body, func(id string) bool { return s.configuration(id) != nil })
	if err != nil {
		return Issued{}, err
	}
	kind := s.configuration(request.Configuration)
	if kind.shape != "" {
		if err := s.mayCertify(token, by, kind.shape); err != nil {
			return Issued{}, err
		}
	}
	unverified, err := s.readProofs(ctx, kind, by.Client, request.Proofs)
	if err != nil {
		return Issued{}, err
	}
	if err := s.cfg.Limiter.User(storage.User{Domain: by.Domain, ID: by.User}, by.Client); err != nil {
		return Issued{}, err
	}
	// Before the rows of other devices are read: only the holder of a key may learn that it is in use.
	proofs, err := verifyProofs(unverified)
	if err != nil {
		return Issued{}, err
	}
	i := issuance{Service: s, kind: kind, by: by, proofs: proofs, from: from}
	if !s.cfg.SpendInUpdate {
		if err := i.decide(ctx, s.cfg.Store); err != nil {
			return Issued{}, err
		}
		if err := i.spend(ctx); err != nil {
			return Issued{}, err
		}
	}
	err = i.record(ctx)
	for tries := 0; errors.Is(err, errNoEntry) && tries < 3; tries++ {
		if err := s.cfg.Statuses.FillCredential(ctx, by.Domain); err != nil {
			return Issued{}, fmt.Errorf("vci: take entries of a status list: %w", err)
		}
		err = i.record(ctx)
	}
	if err != nil {
		return Issued{}, err
	}
	return Issued{kind.id, i.made}, nil
}

// An issuance is a request whose key proofs are verified.
type issuance struct {
	*Service
	kind   *configuration
	by     holder.Holder
	proofs []*dpop.KeyProof
	from   netip.Addr

	as      subject // as it was decided last
	spent   int     // how many of the proofs are
	entries []storage.StatusEntry
	rows    []storage.Credential
	made    []any // what as says
}

// decide reads the rows, and refuses the request if they do.
func (i *issuance) decide(ctx context.Context, r storage.Reader) error {
	as, err := i.session(ctx, r, i.by)
	if err != nil {
		return err
	}
	if as.id != i.as.id {
		i.made = nil
	}
	i.as = as
	return i.mayHave(ctx, r)
}

// spend spends the key proofs, each once.
func (i *issuance) spend(ctx context.Context) error {
	for ; i.spent < len(i.proofs); i.spent++ {
		if err := i.Service.proofs.SpendKeyProof(ctx, i.proofs[i.spent], i.from); err != nil {
			return refusedProof(i.spent, err)
		}
	}
	return nil
}

// errNoEntry is returned if no entry of a status list is ready: the request is decided again after [Statuses.FillCredential].
var errNoEntry = errors.New("vci: no entry of a status list is ready")

// record decides again, signs the credentials, and stores them in the same transaction. Entries of status lists are taken once the proofs
// are spent, so that a request that is repeated uses up none.
func (i *issuance) record(ctx context.Context) error {
	return i.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { // it may be run again
		if err := i.decide(ctx, tx); err != nil {
			return err
		}
		if err := i.spend(ctx); err != nil {
			return err
		}
		for i.kind.listed && len(i.entries) < len(i.proofs) {
			e, ok := i.cfg.Statuses.TakeCredential(i.by.Domain)
			if !ok {
				return errNoEntry
			}
			i.entries = append(i.entries, e)
		}
		if i.made == nil {
			if err := i.make(); err != nil {
				return err
			}
		}
		for _, row := range i.rows {
			if err := tx.InsertCredential(ctx, row); err != nil {
				return fmt.Errorf("vci: store a credential: %w", err)
			}
			err := audit.Append(ctx, tx, audit.Event{
				Kind: audit.CredentialIssued, Domain: row.Domain, User: row.User, Device: row.Device, Session: i.by.Session,
				Credential: row.ID,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// A subject is the device that a credential is about, as its rows say.
type subject struct {
	user   storage.User
	device storage.Device
	id     account.Identity
}

// session returns the device of a token. Its session, device, user and client must be live.
func (s *Service) session(ctx context.Context, r storage.Reader, by holder.Holder) (as subject, err error) {
	u, d, err := by.Rows(ctx, r, s.cfg.Clients, s.cfg.Now())
	if err != nil {
		return as, fmt.Errorf("vci: %w", err)
	}
	id, err := s.cfg.Accounts.Identify(u, d)
	if err != nil {
		return as, fmt.Errorf("vci: write the identity into a credential: %w", err)
	}
	return subject{u, d, id}, nil
}

// mayHave refuses the keys that a device must not have, and more credentials than it may have.
func (i *issuance) mayHave(ctx context.Context, r storage.Reader) error {
	now, as, proofs := i.cfg.Now(), i.as, i.proofs
	for at, p := range proofs {
		d, err := r.DeviceByKey(ctx, as.device.Domain, p.JKT)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("vci: read the device of a key: %w", err)
		}
		taken := err == nil && (d.ID != as.device.ID || d.JKT != p.JKT) // of another device, or a former key of this one
		if !taken {
			bound, err := r.CredentialsByKey(ctx, as.device.Domain, p.JKT, now, MaxPerDevice+1)
			if err != nil {
				return fmt.Errorf("vci: read the credentials of a key: %w", err)
			}
			taken = slices.ContainsFunc(bound, func(c storage.Credential) bool { return c.Device != as.device.ID })
		}
		if taken {
			return refuse(InvalidProof, proofAt(at)+"its key is, or was, that of another device or credential: make a new key.")
		}
	}
	n, err := r.CountCredentials(ctx, as.device.Domain, as.device.ID, string(i.kind.format), now,
		storage.CredentialCount{Live: MaxPerDevice, All: MaxStored})
	if err != nil {
		return fmt.Errorf("vci: count the credentials of a device: %w", err)
	}
	if n.Live+len(proofs) > MaxPerDevice {
		return refuse(Denied, fmt.Sprintf("The device has %d valid credentials and would have more than %d: end those that it no longer "+
			"needs (DELETE /me/credentials/{id}, with this access token), and ask again.", n.Live, MaxPerDevice))
	}
	if i.kind.shape != "" {
		if err := i.mayHaveCertificates(ctx, r); err != nil {
			return err
		}
	}
	if n.All+len(proofs) > MaxStored {
		return refuse(Denied, fmt.Sprintf("The device was given %d credentials that have not expired, also if they have ended, and may "+
			"not be given more than %d: use those that are valid, and ask again when some have expired.", n.All, MaxStored))
	}
	return nil
}

// make makes a credential for each proof.
func (i *issuance) make() error {
	i.rows, i.made = nil, nil
	now := i.cfg.Now().Truncate(time.Second)
	for n, p := range i.proofs {
		id, err := newID(now, i.cfg.Rand)
		if err != nil {
			return fmt.Errorf("vci: make an id: %w", err)
		}
		row := storage.Credential{
			ID: id, Domain: i.by.Domain, User: i.by.User, Device: i.by.Device, Format: string(i.kind.format), JKT: p.JKT,
			Handle: i.as.user.Handle, IssuedAt: now, ExpiresAt: now.Add(i.cfg.Life),
		}
		if i.kind.listed {
			row.Status = i.entries[n]
		}
		made, err := i.kind.make(i, p, &row)
		if err != nil {
			return err
		}
		i.rows, i.made = append(i.rows, row), append(i.made, made)
	}
	return nil
}
