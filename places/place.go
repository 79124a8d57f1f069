package places

import (
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// A Place is one at which a user shows the address of the profile.
type Place struct {
	// URI is the place as the profile has it.
	URI string
	// Domain is the registrable domain of its host. Places of one domain count once.
	Domain string

	kind *kind
	host string
	args []string // what the pattern has found in the path
}

// A kind of places: how its URIs look, which URL is asked, and where in the answer the address may be.
type kind struct {
	name    string
	host    string         // if only this host has such places
	path    *regexp.Regexp // of the URI; the lengths of its parts are in longest, since a pattern with them takes long to compile
	longest []int
	accept  string
	types   []string
	request func(p *Place) string // the URL
	read    func(p *Place, body []byte) ([]string, error)
}

const (
	account  = `([A-Za-z0-9_][A-Za-z0-9_.-]*)`
	jsonType = "application/json"
)

// kinds are told apart by the form of the URI: so each place takes one request, and no answer decides what it is taken for.
var kinds = []*kind{
	{
		name: "well-known", path: regexp.MustCompile(`^/\.well-known/im-places$`),
		accept: jsonType, types: []string{jsonType},
		request: func(p *Place) string { return p.URI },
		read:    readList,
	}, {
		name: "github", host: "gist.github.com", path: regexp.MustCompile(`^/([A-Za-z0-9][A-Za-z0-9-]*)/([0-9a-f]{5}[0-9a-f]*)$`),
		longest: []int{39, 64},
		accept:  "application/vnd.github+json", types: []string{jsonType},
		request: func(p *Place) string { return "https://api.github.com/gists/" + p.args[1] },
		read:    readGist,
	}, {
		name: "gitlab", path: regexp.MustCompile(`^/` + account + `/gitlab_proof$`), longest: []int{100},
		accept: jsonType, types: []string{jsonType},
		request: func(p *Place) string {
			return "https://" + p.host + "/api/v4/projects/" + url.PathEscape(p.args[0]+"/gitlab_proof")
		},
		read: func(p *Place, body []byte) ([]string, error) {
			return readDescription(body, "path_with_namespace", p.args[0]+"/gitlab_proof")
		},
	}, {
		name: "forgejo", path: regexp.MustCompile(`^/` + account + `/forgejo_proof$`), longest: []int{100},
		accept: jsonType, types: []string{jsonType},
		request: func(p *Place) string { return "https://" + p.host + "/api/v1/repos/" + p.args[0] + "/forgejo_proof" },
		read: func(p *Place, body []byte) ([]string, error) {
			return readDescription(body, "full_name", p.args[0]+"/forgejo_proof")
		},
	}, {
		name: "activitypub", path: regexp.MustCompile(`^/(?:@|users/|user/|u/|profile/|accounts/)` + account + `$`), longest: []int{100},
		accept: "application/activity+json", types: []string{"application/activity+json", "application/ld+json"},
		request: func(p *Place) string { return p.URI },
		read:    readActor,
	},
}

// dnsKind is the one whose places are records.
var dnsKind = &kind{name: "dns"}

// Kind is what the place is: "dns", "well-known", "github", "gitlab", "forgejo" or "activitypub".
func (p Place) Kind() string { return p.kind.name }

// same is a key by which a place is known: two spellings of one place have the same.
func (p Place) same() string {
	if p.kind == dnsKind {
		return "dns:" + p.host
	}
	return strings.ToLower(strings.TrimSuffix(p.URI, "/"))
}

// errOther is returned for a URI that is no place of a known kind.
var errOther = errors.New("not a place of a known kind")

// ParsePlace parses the URI of a place. Hosts are in lower case. The error is an [*Error].
func ParsePlace(uri string) (Place, error) {
	p, err := parsePlace(uri)
	if err == errOther {
		err = refuse("place", CodePlace, "%w", err)
	}
	return p, err
}

func parsePlace(uri string) (Place, error) {
	p := Place{URI: uri}
	switch scheme, rest, _ := strings.Cut(uri, ":"); {
	case len(uri) > maxClaim:
		return p, refuse("place", CodePlace, "longer than %d bytes", maxClaim)
	case scheme == "dns":
		p.kind, p.host = dnsKind, strings.TrimSuffix(rest, "?type=TXT")
		if strings.ContainsAny(p.host, "?/#@:") {
			return p, refuse("place", CodePlace, "not dns:DOMAIN or dns:DOMAIN?type=TXT")
		}
	case scheme == "https":
		u, err := url.Parse(uri)
		switch {
		case err != nil || !strings.HasPrefix(uri, "https://"):
			return p, refuse("place", CodePlace, "not a URL")
		case u.User != nil:
			return p, refuse("place", CodePlace, "has user information")
		case u.Port() != "" || strings.HasSuffix(u.Host, ":"):
			return p, refuse("place", CodePlace, "has a port")
		case strings.Contains(uri, "#"):
			return p, refuse("place", CodePlace, "has a fragment")
		}
		p.host = u.Host
		if !strings.Contains(uri, "?") && !strings.Contains(uri, "%") {
			p.match(u.Path)
		}
	default:
		return p, errOther
	}
	if err := checkHost(p.host, p.kind == dnsKind); err != nil {
		return p, &Error{"place", CodePlace, err}
	}
	if p.kind == nil {
		return p, errOther
	}
	p.Domain, _ = registrable(p.host)
	return p, nil
}

// match finds the kind of a path.
func (p *Place) match(path string) {
	path = strings.TrimSuffix(path, "/")
	for _, k := range kinds {
		if k.host != "" && k.host != p.host {
			continue
		}
		if found := k.path.FindStringSubmatch(path); found != nil && k.fits(found[1:]) {
			p.kind, p.args = k, found[1:]
			return
		}
	}
}

// fits reports whether no part of a path is too long.
func (k *kind) fits(parts []string) bool {
	for i, most := range k.longest {
		if len(parts[i]) > most {
			return false
		}
	}
	return true
}

// readList reads a JSON array of addresses. It may have nothing else.
func readList(_ *Place, body []byte) ([]string, error) {
	list, err := jose.Strings(strings.TrimSpace(string(body)))
	if err != nil {
		return nil, err
	}
	var shown []string
	for _, text := range list {
		a, err := ParseAddress(text)
		if err != nil {
			return nil, err
		}
		if len(shown) < maxShown && !slices.Contains(shown, a.Fingerprint) {
			shown = append(shown, a.Fingerprint)
		}
	}
	return shown, nil
}

// readDescription reads the description of a repository. Its full name must be the one that was asked for: a repository that has moved is
// answered under its old name, too.
func readDescription(body []byte, member, full string) ([]string, error) {
	var name, description string
	if err := jose.ReadMembers(body,
		jose.Member{Name: member, Text: &name, Required: true},
		jose.Member{Name: "description", Read: optional(&description)}); err != nil {
		return nil, err
	}
	if !asciiFold(name, full) {
		return nil, errors.New("the answer is about another repository")
	}
	return addresses(description), nil
}

// readGist reads the file proof.md of a gist. The gist must be of the user whom the URI names: the id alone decides which gist is answered.
func readGist(p *Place, body []byte) ([]string, error) {
	var login, content string
	err := jose.ReadMembers(body,
		jose.Member{Name: "owner", Read: func(raw []byte) error {
			return jose.ReadMembers(raw, jose.Member{Name: "login", Text: &login, Required: true})
		}},
		jose.Member{Name: "files", Read: func(raw []byte) error {
			return jose.ReadMembers(raw, jose.Member{Name: "proof.md", Read: func(raw []byte) error {
				return jose.ReadMembers(raw, jose.Member{Name: "content", Read: optional(&content)})
			}})
		}})
	if err != nil {
		return nil, err
	}
	if !asciiFold(login, p.args[0]) {
		return nil, errors.New("the gist is of another user")
	}
	return addresses(content), nil
}

// actorTypes are those of ActivityPub §4. A post is none: others can write posts about an address.
var actorTypes = []string{"Person", "Service", "Organization", "Group", "Application"}

// readActor reads the summary and the attachments of an ActivityPub actor. Its id must be at the host that was asked.
func readActor(p *Place, body []byte) ([]string, error) {
	var typ, id, summary string
	var values []string
	err := jose.ReadMembers(body,
		jose.Member{Name: "type", Text: &typ, Required: true},
		jose.Member{Name: "id", Text: &id, Required: true},
		jose.Member{Name: "summary", Read: optional(&summary)},
		jose.Member{Name: "attachment", Read: func(raw []byte) error {
			if raw[0] == '{' { // one value may stand for an array of one (JSON-LD)
				raw = append(append([]byte{'['}, raw...), ']')
			}
			return jose.ArrayText(raw, func(item string) error {
				var value string
				if item[0] != '{' {
					return nil
				}
				err := jose.ReadMembers([]byte(item), jose.Member{Name: "value", Read: optional(&value)})
				values = append(values, value)
				return err
			})
		}})
	if err != nil {
		return nil, err
	}
	if !slices.Contains(actorTypes, typ) {
		return nil, errors.New("not an actor")
	}
	if u, err := url.Parse(id); err != nil || u.Scheme != "https" || u.Host != p.host {
		return nil, errors.New("the id of the actor is at another host")
	}
	// Both are HTML. Tags are no part of an address, and entities may be.
	return addresses(html.UnescapeString(strings.Join(append(values, summary), "\n"))), nil
}

// optional reads a string that may be null. Another value is as if it were absent.
func optional(to *string) func([]byte) error {
	return func(raw []byte) error {
		if raw[0] != '"' {
			return nil
		}
		return json.Unmarshal(raw, to)
	}
}
