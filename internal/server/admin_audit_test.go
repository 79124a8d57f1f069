package server_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// audited returns the audit events that fn causes, as the log has them.
func (s *site) audited(fn func()) (events []string) {
	read := func() (lines []string) {
		s.witness.mu.Lock()
		defer s.witness.mu.Unlock()
		for line := range strings.Lines(s.witness.log.String()) {
			if _, event, ok := strings.Cut(line, " audit=true "); ok {
				lines = append(lines, strings.TrimSpace(event))
			}
		}
		return lines
	}
	before := len(read())
	fn()
	return read()[before:]
}

// TestAdminAudit holds that every change of an operator is one event, which names the operator and the subject, and that a
// command that changes nothing is none.
func TestAdminAudit(t *testing.T) {
	s := start(t, nil)
	id := deviceOf(t, s.login(t, newDevice(t), "alice"))
	device, alice := id.Device(), id.Local()
	inDomain := func(pairs ...string) url.Values {
		query := url.Values{"domain": {"example.com"}}
		for i := 0; i < len(pairs); i += 2 {
			query.Set(pairs[i], pairs[i+1])
		}
		return query
	}
	user := `domain=example.com user=` + alice
	client := object{"id": "rooms-2", "auth": "secret", "grants": []string{"client_credentials"}, "domains": []string{"example.com"}}
	var statement, key string
	for _, test := range []struct {
		name string
		ask  func() answer
		want string // after event= and before the request's id; "" for no event
		rest string
	}{
		{"rename", func() answer {
			return s.operate(t, http.MethodPut, "/admin/users/"+alice+"/handle", inDomain("handle", "alex"))
		},
			"user.renamed", user + " handle=alex"},
		{"rename to the same handle", func() answer {
			return s.operate(t, http.MethodPut, "/admin/users/"+alice+"/handle", inDomain("handle", "alex"))
		}, "", ""},
		{"grant a reserved handle", func() answer {
			return s.operate(t, http.MethodPut, "/admin/users/"+alice+"/handle", inDomain("handle", "support", "reserved", "true"))
		}, "user.renamed", user + ` handle=support reason="reserved handle granted"`},
		{"release", func() answer { return s.operate(t, http.MethodDelete, "/admin/names", inDomain("handle", "alex")) },
			"handle.released", user + " handle=alex"},
		{"release a free handle", func() answer { return s.operate(t, http.MethodDelete, "/admin/names", inDomain("handle", "alex")) }, "", ""},
		{"relink for a trial", func() answer { return s.moveLink(t, alice, true) }, "", ""},
		{"relink", func() answer { return s.moveLink(t, alice, false) }, "link.moved", user},
		{"remove a device", func() answer {
			return s.operate(t, http.MethodDelete, "/admin/devices/example.com/"+device, url.Values{"reason": {"left on a bus"}})
		}, "device.removed", user + " device=" + device + ` client=app reason="left on a bus"`},
		{"remove it again", func() answer { return s.operate(t, http.MethodDelete, "/admin/devices/example.com/"+device, nil) }, "", ""},
		{"disable", func() answer { return s.operate(t, http.MethodPost, "/admin/users/"+alice+"/disable", inDomain()) }, "user.disabled", user},
		{"disable again", func() answer { return s.operate(t, http.MethodPost, "/admin/users/"+alice+"/disable", inDomain()) }, "", ""},
		{"enable", func() answer { return s.operate(t, http.MethodPost, "/admin/users/"+alice+"/enable", inDomain()) }, "user.enabled", user},
		{"enable again", func() answer { return s.operate(t, http.MethodPost, "/admin/users/"+alice+"/enable", inDomain()) }, "", ""},
		{"add a client", func() answer { return s.operateJSON(t, "/admin/clients", client) }, "client.added", "client=rooms-2"},
		{"add it again", func() answer { return s.operateJSON(t, "/admin/clients", client) }, "", ""},
		{"replace its secret", func() answer {
			return s.operate(t, http.MethodPost, "/admin/clients/secret", url.Values{"id": {"rooms-2"}, "keep": {"1h"}})
		}, "client.secret_replaced", "client=rooms-2"},
		{"remove it", func() answer {
			return s.operate(t, http.MethodDelete, "/admin/clients", url.Values{"id": {"rooms-2"}, "reason": {"closed"}})
		}, "client.removed", "client=rooms-2 reason=closed"},
		{"remove the client again", func() answer {
			return s.operate(t, http.MethodDelete, "/admin/clients", url.Values{"id": {"rooms-2"}})
		}, "", ""},
		{"make a statement", func() answer {
			a := s.operateJSON(t, "/admin/statements", object{
				"typ": "im-member+jwt", "sub": "im:wxyz=%23%23team@wxyz.example", "member": "im:%40alice@example.com",
			})
			statement = a.text("id")
			return a
		}, "statement.made", "domain=wxyz.example statement=STATEMENT reason=im-member+jwt"},
		{"withdraw it", func() answer {
			return s.operate(t, http.MethodDelete, "/admin/statements/"+statement, url.Values{"domain": {"wxyz.example"}, "reason": {"left"}})
		}, "statement.withdrawn", "domain=wxyz.example statement=STATEMENT reason=left"},
		{"withdraw it again", func() answer {
			return s.operate(t, http.MethodDelete, "/admin/statements/"+statement, url.Values{"domain": {"wxyz.example"}})
		}, "", ""},
		{"back up", func() answer {
			return s.operate(t, http.MethodPost, "/admin/backup", url.Values{"to": {filepath.Join(t.TempDir(), "backup.db")}})
		}, "backup.made", ""},
		{"back up to a bad place", func() answer {
			return s.operate(t, http.MethodPost, "/admin/backup", url.Values{"to": {"/nowhere/backup.db"}})
		}, "", ""},
		{"rotate", func() answer {
			a := s.operate(t, http.MethodPost, "/admin/keys", nil)
			key = a.text("kid")
			return a
		}, "key.rotated", "key=KEY reason=operator"},
		{"rotate again", func() answer { return s.operate(t, http.MethodPost, "/admin/keys", nil) }, "", ""},
		{"revoke it", func() answer {
			return s.operate(t, http.MethodDelete, "/admin/keys/"+key, url.Values{"reason": {"leaked"}})
		}, "key.revoked", "key=KEY reason=leaked"},
		{"revoke it again", func() answer { return s.operate(t, http.MethodDelete, "/admin/keys/"+key, nil) }, "", ""},
		{"list users", func() answer { return s.operate(t, http.MethodGet, "/admin/users", inDomain()) }, "", ""},
	} {
		var a answer
		events := s.audited(func() { a = test.ask() })
		if test.want == "" {
			if len(events) > 0 {
				t.Errorf("%s: events %q, want none (%v)", test.name, events, a)
			}
			continue
		}
		want := `^event=` + regexp.QuoteMeta(test.want) + ` actor=admin id=` + regexp.QuoteMeta(a.header.Get("X-Request-Id"))
		if test.rest != "" {
			want += ` ` + regexp.QuoteMeta(strings.NewReplacer("STATEMENT", statement, "KEY", key).Replace(test.rest))
		}
		if len(events) != 1 || !regexp.MustCompile(want+`$`).MatchString(events[0]) {
			t.Errorf("%s: events %q, want one like %s (%v)", test.name, events, want, a)
		}
	}
}

// operateJSON sends JSON to the admin listener.
func (s *site) operateJSON(t *testing.T, path string, body object) answer {
	t.Helper()
	req := s.request(t, http.MethodPost, s.admin+path, string(encode(body)))
	req.Header.Set("Content-Type", "application/json")
	return s.send(t, s.http, req)
}

// moveLink gives a user another account at the provider.
func (s *site) moveLink(t *testing.T, user string, dry bool) answer {
	t.Helper()
	path := "/admin/links?domain=example.com"
	if dry {
		path += "&dry_run=true"
	}
	line := object{"user": user, "to": object{"iss": s.provider.url, "sub": "another"}}
	return s.send(t, s.http, s.request(t, http.MethodPost, s.admin+path, string(encode(line))))
}

// TestOwnAudit holds that the statements of users are events, which name the user, the client and the session.
func TestOwnAudit(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	alice := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, alice, "account").access
	user := deviceOf(t, alice).Local()
	var a answer
	made := s.audited(func() {
		a = s.held(t, phone, own, http.MethodPost, "/me/actors", object{"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle"})
	})
	wantStatus(t, a, http.StatusCreated)
	id := a.text("id")
	withdrawn := s.audited(func() { a = s.held(t, phone, own, http.MethodDelete, "/me/actors/"+id, nil) })
	again := s.audited(func() { s.held(t, phone, own, http.MethodDelete, "/me/actors/"+id, nil) })
	for kind, events := range map[string][]string{"statement.made": made, "statement.withdrawn": withdrawn} {
		want := `^event=` + regexp.QuoteMeta(kind) + ` actor=user id=\S+ address=127\.0\.0\.1 domain=example\.com user=` +
			regexp.QuoteMeta(user) + ` client=\S+ session=` + regexp.QuoteMeta(alice.set.SID) + ` statement=` + regexp.QuoteMeta(id) + ` `
		if len(events) != 1 || !regexp.MustCompile(want).MatchString(events[0]) {
			t.Errorf("events %q, want one like %s", events, want)
		}
	}
	if len(again) > 0 {
		t.Errorf("a second withdrawal: events %q, want none", again)
	}
}
