package server_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// lines returns the lines of the log that hold a text. That of a request may come after its answer, so it waits for it.
func (w *witness) lines(t *testing.T, id string) (refusals []string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		w.mu.Lock()
		text := w.log.String()
		w.mu.Unlock()
		if strings.Contains(text, `msg=request id=`+id) {
			for line := range strings.SplitSeq(text, "\n") {
				if strings.Contains(line, "id="+id) && strings.Contains(line, `msg="request refused"`) {
					refusals = append(refusals, line)
				}
			}
			return refusals
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log has no request %s", id)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestReviewD2SupportCodes holds that a refusal is one line of the log, at info, which has the id that the answer shows, the
// reason, and who and what it was about.
func TestReviewD2SupportCodes(t *testing.T) {
	s := start(t, map[string]string{"more": "trusted_proxies: [127.0.0.0/8]"})
	d := newDevice(t)
	held := s.account(t, d, "alice")
	own := s.forIssuer(t, d, held, "account").access
	alice := deviceOf(t, held).Local()
	b, _, state := s.consented(t, "alice", nil)
	code := s.code(t, "bob", url.Values{"client_id": {otherApp.id}})
	header := from("203.0.113.9")
	for _, test := range []struct {
		name string
		ask  func() answer
		want []string
	}{
		{"unknown app", func() answer {
			return s.beginFrom(t, "203.0.113.9", authorization(url.Values{"client_id": {"nobody"}}))
		},
			[]string{"route=/authorize", "status=400", "client=nobody", "redirect_uri=" + redirectURI, "address=203.0.113.9", "not known to this server"}},
		{"redirect URI of nobody", func() answer {
			return s.beginFrom(t, "203.0.113.9", authorization(url.Values{"redirect_uri": {"https://evil.example/cb?code=SECRET"}}))
		}, []string{"status=400", "client=app", "redirect_uri=https://evil.example/cb?... ", "address=203.0.113.9"}},
		{"told to the app", func() answer { return s.beginFrom(t, "203.0.113.9", authorization(url.Values{"scope": {"admin"}})) },
			[]string{"status=303", "reason=\"oauth: invalid_scope", "client=app", "redirect_uri=" + redirectURI}},
		{"pushed", func() answer { return s.post(t, "/par", authorization(url.Values{"scope": {"admin"}}), header) },
			[]string{"route=/par", "status=400", "invalid_scope", "client=app", "address=203.0.113.9"}},
		{"wrong secret", func() answer {
			return s.token(t, caller{peer.id, "a wrong secret of its own"}, newDevice(t), serviceForm)
		}, []string{"route=/token", "status=401", "invalid_client", "client=peer"}},
		{"code of another app", func() answer { return s.token(t, app, newDevice(t), codeForm(code, nil)) },
			[]string{"route=/token", "status=400", "invalid_grant", "client=app"}},
		{"bad token", func() answer { return s.held(t, newDevice(t), own, http.MethodGet, "/me/actors", nil) },
			[]string{"route=/me/actors", "status=401"}},
		{"own account", func() answer { return s.held(t, d, own, http.MethodDelete, "/me/actors/none", nil) },
			[]string{"status=404", "client=" + accounts.id, "domain=example.com", "user=" + alice}},
		{"person who refuses", func() answer { return s.decide(t, b, state, "deny") },
			[]string{"route=/login/consent", "access_denied", "client=app", "provider=dev", "domain=example.com", "user=" + alice}},
		{"login that is over", func() answer { return s.decide(t, b, state, "allow") }, []string{"status=400", "the login is over"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := test.ask()
			id := a.header.Get("X-Request-Id")
			lines := s.witness.lines(t, id)
			if len(lines) != 1 || !strings.Contains(lines[0], "level=INFO") {
				t.Fatalf("the log says %q of %s, want one line at info", lines, id)
			}
			for _, want := range append(test.want, "reason=") {
				if !strings.Contains(lines[0], want) {
					t.Errorf("the log says %q, want %q in it", lines[0], want)
				}
			}
			if strings.Contains(lines[0], "SECRET") {
				t.Errorf("the log repeats a query: %q", lines[0])
			}
			if a.status != http.StatusSeeOther && strings.Contains(a.header.Get("Content-Type"), "html") && !strings.Contains(a.body, "Give support this code: <code>"+id) {
				t.Errorf("the page does not show the code %s: %s", id, a.body)
			}
		})
	}
	t.Run("disabled user", func(t *testing.T) {
		v := s.visit(t, "alice", nil)
		wantStatus(t, s.disable(t, alice), http.StatusOK)
		a := s.arrive(t, v.browser, v.callback)
		wantPage(t, a, http.StatusForbidden)
		lines := s.witness.lines(t, a.header.Get("X-Request-Id"))
		if len(lines) != 1 || !strings.Contains(lines[0], "user="+alice) || !strings.Contains(lines[0], "disabled") || !strings.Contains(lines[0], "client=app") {
			t.Errorf("the log says %q, want one line with the user and the app", lines)
		}
		// The way back leads to the app, with an error.
		m := regexp.MustCompile(`<a class="button" href="([^"]*)">Go back to`).FindStringSubmatch(a.body)
		if len(m) != 2 {
			t.Fatalf("the page has no way back: %s", a.body)
		}
		back := mustParse(t, html.UnescapeString(m[1]))
		if !strings.HasPrefix(back.String(), redirectURI+"?") || back.Query().Get("error") != "access_denied" || back.Query().Get("state") != appState {
			t.Errorf("the way back is %v, want the app with an error", back)
		}
	})
}

// TestReviewD5ErrorPages holds that the page of a request that no app can be told about has what its developer needs, and
// leads nowhere that was not registered.
func TestReviewD5ErrorPages(t *testing.T) {
	s := start(t, nil)
	for name, change := range map[string]url.Values{
		"unknown app":            {"client_id": {"<nobody>"}},
		"redirect URI of nobody": {"redirect_uri": {"https://evil.example/cb"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := authorization(change)
			a := s.get(t, "/authorize?"+q.Encode())
			wantPage(t, a, http.StatusBadRequest)
			for _, want := range []string{"For the developer of the app", "client_id " + q.Get("client_id"), "redirect_uri " + q.Get("redirect_uri"), "error invalid_request"} {
				if !strings.Contains(words(a), want) {
					t.Errorf("the page says %q, want %q in it", words(a), want)
				}
			}
			if strings.Contains(a.body, "<nobody>") || strings.Contains(a.body, "href") {
				t.Errorf("the page holds what the request said as markup, or a link: %s", a.body)
			}
		})
	}
}

// TestReviewD5RedirectSaysWhatIsWrong holds that the developer of an app is told why a redirect URI is refused, on the page
// and at /par.
func TestReviewD5RedirectSaysWhatIsWrong(t *testing.T) {
	s := start(t, nil)
	for to, want := range map[string]string{
		"http://localhost:8080/callback":  "The redirect_uri has localhost, and 127.0.0.1 is registered",
		"http://127.0.0.1:8080/other":     "compared byte for byte",
		"https://evil.example/callback":   "compared byte for byte",
		"http://localhost.evil.example/":  "compared byte for byte",
		"http://localhost:8080/callback/": "compared byte for byte",
	} {
		change := url.Values{"redirect_uri": {to}}
		page := s.get(t, "/authorize?"+authorization(change).Encode())
		wantPage(t, page, http.StatusBadRequest)
		if !strings.Contains(words(page), want) {
			t.Errorf("%s: the page says %q, want %q in it", to, words(page), want)
		}
		a := s.push(t, nil, change)
		wantError(t, a, http.StatusBadRequest, "invalid_request")
		if !strings.Contains(a.text("error_description"), want) {
			t.Errorf("%s: /par says %q, want %q in it", to, a.text("error_description"), want)
		}
	}
	a := s.push(t, nil, url.Values{"redirect_uri": nil})
	if want := "The redirect_uri is missing"; !strings.Contains(a.text("error_description"), want) {
		t.Errorf("/par says %q, want %q in it", a.text("error_description"), want)
	}
}

// TestReviewD7DurationsSayTheirUnit holds that the log says in which unit a duration is.
func TestReviewD7DurationsSayTheirUnit(t *testing.T) {
	s := start(t, nil)
	a := s.get(t, "/jwks")
	s.witness.lines(t, a.header.Get("X-Request-Id"))
	s.witness.mu.Lock()
	defer s.witness.mu.Unlock()
	if text := s.witness.log.String(); !regexp.MustCompile(`msg=request id=.* duration_ms=\d+(\.\d+)?\n`).MatchString(text) || strings.Contains(text, " took=") {
		t.Errorf("the log has no duration_ms: %.300s", text)
	}
}
