package verdict

import (
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
)

// FromCredential returns what a credential says about a subject, from what a verifier of it returned: c, err and the time at of the check.
// About is the subject that the caller asks about; what it leaves open is taken from the credential. A credential that was refused
// says nothing, because anyone can make one that is; one that has ended is evidence against the subject. If its handle has ended, that
// is evidence against the handle, if about has it. The error is [ErrSubjects] if the credential is about someone else.
func FromCredential(about About, c *credential.Credential, err error, at time.Time) (Verdict, error) {
	if refused := (*credential.Error)(nil); !credential.Stands(err) {
		f := Finding{Result: Unknown, Checked: at}
		if errors.As(err, &refused) {
			f = Finding{Result: None, Code: Code(refused.Code), Checked: at}
		}
		return all(about, f), nil
	}
	f := Finding{Result: Good, Since: c.From, Until: c.Until, Details: c.Issuer}
	if c.Checked {
		f.Checked = at
	}
	switch {
	case errors.Is(err, credential.CodeEnded):
		f = Finding{Result: Bad, Code: CodeEnded, Checked: at, Details: c.Issuer}
	case errors.Is(err, credential.CodeExpired):
		f.Result, f.Code = None, CodeExpired
	}
	v, err := identity(about, c.Identity, c.JKT, f, c.ID)
	if err == nil && c.HandleEnded && !v.About.Handle.IsZero() && v.About.Handle == c.FormerHandle {
		v.Handle = Finding{Result: Bad, Code: CodeEnded, Checked: at, Details: c.Issuer}
	}
	return v, err
}

// FromTree returns what a token says about a subject, from what [nested.Open] returned: tree, err and the time at of the check. It is about
// the subject of the outermost token. Its revocation counts as looked up if that of every token was. A token that was refused says
// nothing. One that was revoked is evidence against its subject, and an expired one was good: both only if its issuer may speak for that
// subject, so that no other token can be shown instead. The error is [ErrSubjects] if the token is about someone else or about no
// user.
func FromTree(about About, tree *nested.Tree, err error, at time.Time) (Verdict, error) {
	var (
		set *claims.Set
		f   Finding
	)
	refused := (*nested.Error)(nil)
	switch {
	case err == nil:
		set = tree.Root.Access
	case !errors.As(err, &refused):
		return all(about, Finding{Result: Unknown, Checked: at}), nil
	case refused.Access == nil && refused.Code == nested.CodeExpired: // [CodeExpired] would say that it was good
		return all(about, Finding{Result: None, Code: codeRefused, Checked: at}), nil
	case refused.Access == nil:
		return all(about, Finding{Result: None, Code: Code(refused.Code), Checked: at}), nil
	case refused.Code == nested.CodeRevoked:
		set, f = refused.Access, Finding{Result: Bad, Code: CodeEnded, Checked: at, Details: refused.Access.Issuer}
	default:
		set, f = refused.Access, Finding{Result: None, Code: CodeExpired, Checked: at, Details: refused.Access.Issuer}
	}
	if set == nil || set.Service() {
		return Verdict{}, fmt.Errorf("%w: the token is not a user's access token", ErrSubjects)
	}
	id, err := set.Identity()
	if err != nil {
		return Verdict{}, fmt.Errorf("verdict: %w", err)
	}
	if err == nil && refused == nil {
		f = Finding{Result: Good, Since: tree.From, Until: tree.Until, Details: set.Issuer}
		if tree.Assurance.Unrevoked {
			f.Checked = at
		}
	}
	return identity(about, id, set.JKT, f, set.JTI)
}

// codeRefused is the code of a token of which nothing else is known.
const codeRefused Code = "refused"

// FromAnswer returns what an issuer answers about a token of a subject (RFC 7662), from what [introspect.Client.Introspect] returned: r,
// err and the time at of the answer. A token that is inactive says nothing, because it may just be old, unless the issuer says that it was
// ended. Such an answer does not name the subject: the caller must have verified that the token is about's, because anyone can show
// an ended token as that of another person. The error is [ErrSubjects] if the token is about someone else or about no user, and err
// itself if the question was wrong.
func FromAnswer(about About, r introspect.Result, err error, at time.Time) (Verdict, error) {
	a := r.Answer
	switch {
	case errors.Is(err, introspect.ErrUnknown):
		return all(about, Finding{Result: Unknown, Checked: at}), nil
	case err != nil:
		return Verdict{}, err
	case a.Active:
	case a.Reason == introspect.Revoked, a.Reason == introspect.DeviceRemoved, a.Reason == introspect.UserDisabled:
		return all(about, Finding{Result: Bad, Code: CodeEnded, Checked: at}), nil
	case a.Reason == introspect.Expired:
		return all(about, Finding{Result: None, Code: CodeExpired, Checked: at}), nil
	default:
		return all(about, Finding{Result: None, Code: Code(a.Reason), Checked: at}), nil
	}
	set := claims.Set{Subject: a.Subject, Handle: a.Handle, Device: a.Device, ClientID: a.ClientID}
	if set.Service() {
		return Verdict{}, fmt.Errorf("%w: the token is a service's", ErrSubjects)
	}
	id, err := set.Identity()
	if err != nil {
		return Verdict{}, fmt.Errorf("verdict: %w", err)
	}
	f := Finding{Result: Good, Since: time.Unix(a.IssuedAt, 0), Until: time.Unix(a.ExpiresAt, 0), Checked: at, Details: a.Issuer}
	if r.Stale {
		f.Checked = time.Time{} // the answer is of an earlier time that is not known
	}
	jkt := ""
	if a.Confirmation != nil {
		jkt = a.Confirmation.JKT
	}
	return identity(about, id, jkt, f, a.JTI)
}

// all returns a verdict of the hierarchy with one finding about each facet.
func all(about About, f Finding) Verdict {
	return Verdict{Method: Hierarchy, About: about, User: f, Device: f, Handle: f}
}

// identity returns a verdict of the hierarchy with one finding about each identifier that a token has.
func identity(about About, id claims.Identity, jkt string, f Finding, evidence string) (Verdict, error) {
	merged, agree := about.merge(About{Handle: id.Handle, User: id.User, Device: id.Device, JKT: jkt})
	if !agree {
		return Verdict{}, ErrSubjects
	}
	v := Verdict{Method: Hierarchy, About: merged}
	for _, one := range []struct {
		id claims.ID
		to *Finding
	}{{id.User, &v.User}, {id.Device, &v.Device}, {id.Handle, &v.Handle}} {
		if !one.id.IsZero() {
			*one.to = f
		}
	}
	if jkt == "" && merged.JKT != "" && v.Device.Result == Good { // nothing says that the device has that key
		v.Device = Finding{}
	}
	if evidence != "" {
		v.Evidence = []string{evidence}
	}
	return v, nil
}
