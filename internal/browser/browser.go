// Package browser is an HTTP user agent for logins without a person: in the demonstration, in tests and in measurements. It keeps
// cookies, follows redirects, fills in and submits HTML forms, and stops at the redirect to the application.
//
// It does not run scripts. On a page that needs them it fails with [ErrStuck].
package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

const (
	maxSteps = 24
	maxPage  = 1 << 20
)

// ErrStuck is wrapped by the errors of [Browser.Login] for a page without a form, and for a login with too many steps.
var ErrStuck = errors.New("browser: stuck")

// A Browser is the browser of one user. It keeps its cookies from one login to the next. It must not be used by several
// goroutines at once.
type Browser struct {
	client *http.Client
}

// New returns a browser without cookies that sends requests through transport. Nil means [http.DefaultTransport].
func New(transport http.RoundTripper) *Browser {
	jar, _ := cookiejar.New(nil) // never fails
	return &Browser{client: &http.Client{
		Transport:     transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Client returns the browser's HTTP client, which has the cookies and does not follow redirects.
func (b *Browser) Client() *http.Client { return b.client }

// Login requests start and then follows redirects and submits forms until a redirect leads to a URL that stop accepts. It returns
// that URL without requesting it.
//
// The keys in fill are names or types of inputs: {"text": "alice", "password": "alice"} fills in most login forms. A key that is
// the name of a submit button presses the one with that value; otherwise the first button is pressed. If a page has several
// forms, the one with the most inputs for fill is submitted.
func (b *Browser) Login(ctx context.Context, start string, stop func(*url.URL) bool, fill map[string]string) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, start, nil)
	if err != nil {
		return nil, fmt.Errorf("browser: %w", err)
	}
	var at string
	for range maxSteps {
		resp, err := b.client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("browser: %w", err)
		}
		page, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
		_ = resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("browser: read %s: %w", place(req, resp, nil), err)
		}
		if next, err := resp.Location(); err == nil && resp.StatusCode/100 == 3 {
			if stop(next) {
				return next, nil
			}
			at = place(req, resp, nil)
			if req, err = follow(req, resp.StatusCode, next); err != nil {
				return nil, err
			}
			continue
		}
		doc, err := html.Parse(strings.NewReader(string(page)))
		if err != nil {
			return nil, fmt.Errorf("browser: read %s: %w", place(req, resp, nil), err)
		}
		at = place(req, resp, doc)
		form := choose(doc, fill)
		if form == nil {
			return nil, fmt.Errorf("%w at %s: no form to submit", ErrStuck, at)
		}
		if req, err = form.submit(ctx, req.URL, fill); err != nil {
			return nil, fmt.Errorf("browser: form of %s: %w", at, err)
		}
	}
	return nil, fmt.Errorf("%w after %d steps, last at %s", ErrStuck, maxSteps, at)
}

// To returns a stop function for [Browser.Login] that accepts redirect with any query.
func To(redirect string) func(*url.URL) bool {
	return func(u *url.URL) bool {
		bare := *u
		bare.RawQuery, bare.Fragment = "", ""
		return bare.String() == redirect
	}
}

// follow returns the request that follows a redirect (RFC 9110 §15.4): 307 and 308 repeat the form, others become a GET.
func follow(from *http.Request, status int, to *url.URL) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(nil)
	repeat := from.GetBody != nil && (status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect)
	if repeat {
		again, err := from.GetBody()
		if err != nil {
			return nil, fmt.Errorf("browser: %w", err)
		}
		method, body = from.Method, again
	}
	req, err := http.NewRequestWithContext(from.Context(), method, to.String(), body)
	if err != nil {
		return nil, fmt.Errorf("browser: %w", err)
	}
	if repeat {
		req.GetBody, req.ContentLength = from.GetBody, from.ContentLength
		req.Header.Set("Content-Type", from.Header.Get("Content-Type"))
	}
	return req, nil
}

// place names a page for an error: method, URL without its query, status, title and first heading.
func place(req *http.Request, resp *http.Response, doc *html.Node) string {
	u := *req.URL
	u.RawQuery = ""
	out := fmt.Sprintf("%s %s (%s)", req.Method, u.String(), resp.Status)
	for _, tag := range []string{"title", "h1"} {
		if n := find(doc, tag); n != nil {
			out += fmt.Sprintf(" %q", text(n))
		}
	}
	return out
}
