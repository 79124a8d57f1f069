package config

import "net/url"

// maxTeam is how many bytes the name of a team may have, as in a proof.
const maxTeam = 255

// wire checks the certificate authorities of Wire of a domain.
func (k *checker) wire(path string, d *Domain) {
	w := &d.Wire
	if len(w.Provisioners) == 0 {
		for _, key := range []string{"team", "name"} {
			if k.where[join(path, key)] != nil {
				k.report(join(path, key), "has no use without wire.provisioners: name the ACME provisioners of step-ca, or leave it out")
			}
		}
		return
	}
	if d.System != "wire" {
		k.report(join(path, "provisioners"), "needs system: wire, in which alone users and devices have wireapp: URIs")
	}
	for i, text := range w.Provisioners {
		at := index(join(path, "provisioners"), i)
		k.issuer(at, text) // in normal form, as challenges are compared with it
		if u, err := url.Parse(text); err == nil && (u.Path == "" || u.Path == "/") {
			k.report(at, "%q has no path: name the provisioner, as in https://ca.example.com/acme/wire", text)
		}
	}
	if len(w.Team) > maxTeam {
		k.report(join(path, "team"), "has more than %d bytes", maxTeam)
	}
}
