package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/revocation"
)

// The bounds of a request for events.
const (
	maxWait       = 60  // seconds
	defaultEvents = 100 // of a page
	maxEvents     = 500
	// feedCheck is how often a waiting request checks that its caller may still listen and that the revocations are known.
	feedCheck = 500 * time.Millisecond
	// feedWrite is how long one write may take. A caller that reads more slowly is dropped.
	feedWrite = 10 * time.Second
)

// noStoreOrChange keeps intermediaries from storing, compressing or otherwise changing an answer, and so from delaying it.
var noStoreOrChange = []string{"no-store, no-transform"}

// A listener is an authenticated caller of the feed.
type listener struct {
	revocation.Caller
	// may returns nil while the caller may listen, and [errAgain] if it has to ask again.
	may func(ctx context.Context) error
}

// errAgain means that the registration of the client has changed since the request began.
var errAgain = errors.New("server: the registration of the client has changed")

// events serves GET /events, the feed of revocations: docs/feed.md describes it.
func (s *Server) events(c echo.Context) error {
	by, params, err := s.caller(c, oauth.ScopeFeed, withoutCredentials)
	if err != nil {
		return err
	}
	l, err := s.listener(c, by)
	if err != nil {
		return err
	}
	err = s.listen(c, l, params)
	if errors.Is(err, dpop.ErrInvalidToken) && !c.Response().Committed {
		s.self.Refuse(c.Response(), c.Request(), err)
	}
	return err
}

// withoutCredentials reads the parameters of a URL, which must not have credentials. A client with keys asks with a token of its
// own: an assertion would be in the URL, and can be used only once.
func withoutCredentials(c echo.Context) (url.Values, error) {
	params, err := query(c)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type", "access_token"} {
		if params.Has(name) {
			return nil, invalid("Send credentials in the Authorization header, not in the URL, which logs keep.")
		}
	}
	delete(params, "client_id") // the client is that of the Authorization header
	if len(c.Request().Header.Values("Authorization")) == 0 {
		return nil, &oauth.Error{Code: oauth.CodeInvalidClient, Description: "Authenticate as a client by HTTP Basic, or with a " +
			"DPoP-bound access token for this issuer that has the scope feed."}
	}
	return params, nil
}

// listener returns an authenticated caller as one of the feed. It follows those of its domains that are the issuer's.
func (s *Server) listener(c echo.Context, by tokenCaller) (listener, error) {
	l := listener{Caller: revocation.Caller{
		ID: by.Name, Domains: []string{}, Seen: func(uri string) string { return s.Introspector.Seen(by.Caller, uri) },
	}}
	for _, domain := range by.Domains {
		if slices.Contains(s.Domains, domain) {
			l.Domains = append(l.Domains, domain)
		}
	}
	if !showsToken(c.Request()) {
		l.may = s.registered(by.ClientID)
		return l, nil
	}
	_, token, _ := strings.Cut(c.Request().Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	holder := trailOf(c).held
	if holder.Actor != nil {
		return l, &httpapi.RefusedError{Status: http.StatusForbidden, Code: oauth.CodeAccessDenied,
			Description: "Use a token of your own: the token belongs to somebody who acts for another."}
	}
	registered := s.registered(holder.ClientID)
	l.may = func(ctx context.Context) error {
		if !s.Now().Before(holder.Expires) {
			return dpop.ErrInvalidToken
		}
		if holder.Issuer != s.Issuer {
			return s.stillPeer(ctx, token, by.Domains)
		}
		if _, active, err := s.Introspector.Own(ctx, token); err != nil {
			return err
		} else if !active {
			return dpop.ErrInvalidToken
		}
		return registered(ctx)
	}
	return l, nil
}

// stillPeer checks that a token of a peer may still be used, for the same domains.
func (s *Server) stillPeer(ctx context.Context, token string, domains []string) error {
	holder, good, err := s.Introspector.Peer(ctx, token)
	if err != nil {
		return err
	}
	if !good {
		return dpop.ErrInvalidToken
	}
	now, err := s.callerFrom(ctx, holder) // fails for a peer that was suspended
	if err == nil && !slices.Equal(now.Domains, domains) {
		return errAgain
	}
	return err
}

// registered returns a check that a client is registered as it is now, and for the feed.
func (s *Server) registered(id string) func(context.Context) error {
	before, _ := s.Registry.Client(id)
	return func(context.Context) error {
		now, ok := s.Registry.Client(id)
		switch {
		case !ok || before == nil:
			return clients.ErrRemoved
		case !now.HasScope(oauth.ScopeFeed):
			return &unregisteredError{oauth.ScopeFeed}
		case now != before && !reflect.DeepEqual(now, before): // the registry makes all clients anew when one changes
			return errAgain
		}
		return nil
	}
}

// listen answers an authenticated request for events.
func (s *Server) listen(c echo.Context, l listener, params url.Values) error {
	streams := accepts(c.Request().Header["Accept"], typeEventStream)
	shortest, wait := 0, 0
	if streams {
		shortest, wait = 1, defaultSilence
	}
	wait, err := wholeNumber(params, "wait", wait, shortest, maxWait)
	if err != nil {
		return err
	}
	from, err := position(c.Request(), params)
	if err != nil {
		return err
	}
	limit, err := wholeNumber(params, "limit", defaultEvents, 1, maxEvents)
	if err != nil {
		return err
	}
	sub, err := s.Feed.Open(l.Caller, from)
	if err != nil {
		return err
	}
	defer sub.Close()
	if c.Request().Method == http.MethodHead {
		c.Response().Header()[echo.HeaderContentType] = typeJSON
		return c.NoContent(http.StatusOK)
	}
	if streams {
		return s.stream(c, l, sub, time.Duration(wait)*time.Second)
	}
	return s.poll(c, l, sub, limit, time.Duration(wait)*time.Second, from == "")
}

// poll answers with a page of events, as soon as there are some or when the time is over. A fresh start is answered at once.
func (s *Server) poll(c echo.Context, l listener, sub *revocation.Subscription, limit int, wait time.Duration, fresh bool) error {
	conn := http.NewResponseController(c.Response())
	// The deadlines of the listener are for requests that are answered at once. Unlike those, this one reads nothing more.
	if err := errors.Join(conn.SetReadDeadline(time.Time{}), conn.SetWriteDeadline(time.Now().Add(wait+feedWrite))); err != nil {
		return err
	}
	open := s.metrics.waiting.WithLabelValues(formPoll)
	open.Inc()
	defer open.Dec()
	ctx := c.Request().Context()
	over := time.NewTimer(wait)
	defer over.Stop()
	check := time.NewTicker(feedCheck)
	defer check.Stop()
	done := fresh || wait == 0
	for waited := false; ; waited = true {
		var (
			page feed.Page
			news []revocation.News
		)
		err := l.may(ctx)
		if errors.Is(err, errAgain) { // the position stays, and the next request comes with the new registration
			page, err = sub.Still()
			page.More, done = true, true
		} else if err == nil {
			page, news, err = sub.Page(limit)
		}
		if err != nil {
			return err
		}
		if done || len(page.Events) > 0 {
			text, err := json.Marshal(page)
			if err != nil {
				return err
			}
			s.metrics.told(news, s.Now(), waited)
			c.Response().Header()["Cache-Control"] = noStoreOrChange
			return writeJSON(c, append(text, '\n'))
		}
		select {
		case <-sub.Ready():
		case <-check.C:
		case <-over.C:
			done = true
		case <-s.Feed.Done():
			done = true
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.Time(); err != nil {
			return err
		}
	}
}

// wholeNumber reads a parameter that is a whole number within bounds.
func wholeNumber(params url.Values, name string, absent, least, most int) (int, error) {
	text := params.Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most || strconv.Itoa(n) != text {
		return 0, invalid(fmt.Sprintf("The parameter %s must be a whole number from %d to %d.", name, least, most))
	}
	return n, nil
}
