package login

import "slices"

const (
	// subjectClaim is the claim that identifies a user unless the settings name another one.
	subjectClaim = "sub"
	// maxSubject is how long a value of it may be (OpenID Connect Core §2).
	maxSubject = 255
)

// bySub reports whether users are identified by their sub.
func (p *Provider) bySub() bool { return p.cfg.SubjectClaim == subjectClaim }

// bound returns the claims that are checked strictly: those of list, and the one that identifies users.
func (p *Provider) bound(list []string) []string {
	if p.bySub() {
		return list
	}
	return append(slices.Clone(list), p.cfg.SubjectClaim)
}

// subject returns what identifies the user of a verified ID token. Another claim than sub is held to the form of sub (Core §2).
func (p *Provider) subject(said members) (string, error) {
	subject := said.text(p.cfg.SubjectClaim)
	if !p.bySub() && !identifies(subject) {
		return "", rejected("id_token", "%s, which identifies the user, is not 1 to 255 printable ASCII characters", p.cfg.SubjectClaim)
	}
	return subject, nil
}

func identifies(subject string) bool {
	for _, c := range []byte(subject) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return subject != "" && len(subject) <= maxSubject
}
