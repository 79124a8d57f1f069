// Package scim serves SCIM 2.0 (RFC 7643, RFC 7644) about the users of an OpenID provider: what it reads, what it answers, and what a
// request means for the users of a domain. The provider disables a person here by itself, and can create one ahead of the first login.
//
// A user has four attributes: id, userName, externalId and active. All others that a provider sends are accepted and not stored. The
// package knows nothing of HTTP beyond status codes; routes and authentication are those of internal/server.
package scim

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/errtext"
)

// A Caller is a client that manages the users of an OpenID provider.
type Caller struct {
	account.Provisioner
	// SubjectClaim is the claim of the provider's ID tokens whose value is the externalId of a user: mostly sub.
	SubjectClaim string
	// SubjectIsID tells that the users of the domain have its value as their id, too, and OtherIDs that they have another
	// claim: then nobody can be created ahead of the first login.
	SubjectIsID, OtherIDs bool
}

// Service answers requests about users. It is safe for concurrent use.
type Service struct {
	accounts *account.Accounts
	base     string
}

// New returns a service below the URL base, which ends without a slash.
func New(accounts *account.Accounts, base string) *Service { return &Service{accounts, base} }

// A Resource is a user as a caller sees them.
type Resource struct {
	account.ProvisionedUser
	UserName string
	Location string
	// Version is the entity tag, quoted, for the headers ETag and If-Match (RFC 7644 §3.14).
	Version string
}

// resource returns a user in the words of SCIM.
func (s *Service) resource(u account.ProvisionedUser) Resource {
	sum := sha256.Sum256([]byte(strings.Join(
		[]string{u.ID, u.Handle, u.Subject, strconv.FormatBool(u.Active())}, "\n")))
	return Resource{
		ProvisionedUser: u,
		UserName:        u.Handle + "@" + u.Domain,
		Location:        s.base + "/Users/" + u.ID,
		Version:         `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
	}
}

// handle returns the handle that a userName names: alice, or alice@ and the domain.
func handle(by Caller, userName string) (string, error) {
	at := strings.LastIndexByte(userName, '@')
	if at < 0 {
		return userName, nil
	}
	domain, err := idna.Lookup.ToASCII(userName[at+1:])
	if err != nil || domain != by.Domain {
		return "", &Error{400, InvalidValue, fmt.Sprintf("The userName must be a handle of the domain %s, as in alice or alice@%s. "+
			"Map the attribute at the provider.", by.Domain, by.Domain)}
	}
	return userName[:at], nil
}

// Get returns a user. The error is a 404 if the caller has no such user.
func (s *Service) Get(ctx context.Context, by Caller, id string) (Resource, error) {
	u, err := s.accounts.Provisioned(ctx, by.Provisioner, id)
	if err != nil {
		return Resource{}, refusal(err)
	}
	return s.resource(u), nil
}

// Create creates a user ahead of the first login (RFC 7644 §3.3). A user without active is active.
func (s *Service) Create(ctx context.Context, by Caller, in Input) (Resource, error) {
	switch {
	case by.OtherIDs:
		return Resource{}, &Error{403, "", "Users of this domain are created at their first login, because the provider names their ids " +
			"there. Turn off the creation of users at the provider."}
	case in.UserName == nil || *in.UserName == "":
		return Resource{}, &Error{400, InvalidValue, "The attribute userName is missing."}
	case in.ExternalID == nil || *in.ExternalID == "":
		return Resource{}, &Error{400, InvalidValue, "The attribute externalId is missing: it must be what the provider's ID " +
			"tokens have as " + by.SubjectClaim + "."}
	}
	name, err := handle(by, *in.UserName)
	if err != nil {
		return Resource{}, err
	}
	p := account.Provision{Subject: *in.ExternalID, Handle: name, Disabled: in.Active != nil && !*in.Active}
	if by.SubjectIsID {
		p.User = p.Subject
	}
	u, err := s.accounts.Provision(ctx, by.Provisioner, p)
	if err != nil {
		return Resource{}, refusal(err)
	}
	return s.resource(u), nil
}

// A Change is a user after a change, and what the change did.
type Change struct {
	Resource
	Renamed, Disabled, Enabled bool
}

// Change gives a user the attributes of a PUT or a PATCH, all or none. Attributes that are absent stay. The userName is ignored unless
// the provider decides about handles, and for a user who is or becomes inactive; externalId is ignored: see docs/divergences.md.
// If ifMatch is not empty, the user must have one of its entity tags, or the error is a 412.
func (s *Service) Change(ctx context.Context, by Caller, id string, in Input, ifMatch string) (Change, error) {
	change := account.ProvisionChange{Active: in.Active}
	disables := in.Active != nil && !*in.Active
	if in.UserName != nil && by.Renames && !disables {
		name, err := handle(by, *in.UserName)
		if err != nil {
			return Change{}, err
		}
		change.Handle = &name
	}
	out, err := s.accounts.ChangeProvisioned(ctx, by.Provisioner, id, change, s.unchanged(ifMatch))
	if err != nil {
		return Change{}, refusal(err)
	}
	return Change{s.resource(out.ProvisionedUser), out.Renamed, out.Disabled, out.Enabled}, nil
}

// unchanged returns a check that a user has one of the entity tags of ifMatch, if there are any.
func (s *Service) unchanged(ifMatch string) func(account.ProvisionedUser) error {
	return func(u account.ProvisionedUser) error {
		if ifMatch != "" && !Matches(ifMatch, s.resource(u).Version) {
			return &Error{412, "", "The user has changed since: read it again."}
		}
		return nil
	}
}

// Remove removes a user (RFC 7644 §3.6): everything about them ends and is deleted, and a tombstone keeps others from getting the names.
func (s *Service) Remove(ctx context.Context, by Caller, id, ifMatch string) error {
	if err := s.accounts.RemoveProvisioned(ctx, by.Provisioner, id, s.unchanged(ifMatch)); err != nil {
		return refusal(err)
	}
	return nil
}

// Matches reports whether a list of entity tags, as in If-Match, has a tag. Weak and strong tags are equal here (RFC 7644 §3.14 uses weak
// ones with If-Match).
func Matches(list, tag string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// refusal returns the answer to an error of accounts. An error that means that nothing was decided is returned as it is.
func refusal(err error) error {
	var (
		own    *Error
		handle *claims.Error
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, account.ErrNoUser):
		return &Error{404, "", "There is no such user of this provider."}
	case errors.Is(err, account.ErrProvisioned):
		return &Error{409, Uniqueness, "A user with this externalId exists."}
	case errors.Is(err, account.ErrRemoved):
		return &Error{409, Uniqueness, "The user of this externalId was removed. Try again in two hours, or ask the " +
			"operator to readmit them."}
	case errors.Is(err, account.ErrHandleTaken):
		return &Error{409, Uniqueness, "The userName is taken, or was, or looks like one that is."}
	case errors.Is(err, account.ErrUserTaken):
		return &Error{409, Uniqueness, "A user with this id exists, or did."}
	case errors.Is(err, account.ErrUserID):
		return &Error{400, InvalidValue, "The externalId becomes the id of the user, and this domain does not allow it."}
	case errors.As(err, &handle):
		return &Error{400, InvalidValue, errtext.Clean("The userName is not allowed: " + account.HandleRefusal(err))}
	}
	return err
}
