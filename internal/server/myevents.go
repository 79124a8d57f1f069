package server

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
)

// The bounds of requests of users for their events.
const (
	maxOwnWait = 50 // seconds
	// ownCheck is how often a waiting request looks for events, and checks that its token is still active.
	ownCheck = time.Second
	// maxOwnWaiting is how many requests of one user may wait at a time, and maxAllWaiting how many of all users.
	maxOwnWaiting = 10
	maxAllWaiting = 1000
)

// waiters counts the requests of users that wait for events. Its zero value is ready.
type waiters struct {
	mu   sync.Mutex
	all  int
	each map[statements.Holder]int // by domain and user
}

// Refusals of another request that would wait.
var (
	errOwnWaiting = errors.New("server: too many requests of the user wait for events")
	errAllWaiting = errors.New("server: too many requests wait for events")
)

// enter counts a request that waits, or refuses it. A request that entered leaves.
func (w *waiters) enter(who statements.Holder) error {
	who.SID = ""
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.each[who] >= maxOwnWaiting {
		return errOwnWaiting
	}
	if w.all >= maxAllWaiting {
		return errAllWaiting
	}
	if w.each == nil {
		w.each = make(map[statements.Holder]int)
	}
	w.all++
	w.each[who]++
	return nil
}

func (w *waiters) leave(who statements.Holder) {
	who.SID = ""
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.each[who]--; w.each[who] == 0 {
		delete(w.each, who)
	}
}

// listMyEvents serves GET /me/events?since=N&limit=N&wait=S: what happened to the devices of the user. With wait, a request without
// events is answered when there are some or when the time is over.
func (s *Server) listMyEvents(c echo.Context, who statements.Holder) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	limit, err := pageLimit(params)
	if err != nil {
		return err
	}
	since, err := wholeNumber(params, "since", 0, 0, 1<<53) // JSON numbers are exact up to there (RFC 8259 §6)
	if err != nil {
		return err
	}
	wait, err := wholeNumber(params, "wait", 0, 0, maxOwnWait)
	if err != nil {
		return err
	}
	if c.Request().Method == http.MethodHead {
		wait = 0
	}
	if wait == 0 {
		page, err := s.myEvents(c, who, int64(since), limit)
		if err != nil {
			return err
		}
		return encodeJSON(c, page)
	}
	if err := s.waiting.enter(who); err != nil {
		return err
	}
	defer s.waiting.leave(who)
	return s.awaitMyEvents(c, who, int64(since), limit, time.Duration(wait)*time.Second)
}

// myEvents returns a page of events. Its token has been checked.
func (s *Server) myEvents(c echo.Context, who statements.Holder, since int64, limit int) (api.OwnEvents, error) {
	list, next, more, err := s.Accounts.OwnEvents(c.Request().Context(), ownerOf(who), since, limit)
	page := api.OwnEvents{Events: make([]api.OwnEvent, len(list)), Next: next, More: more}
	for i, e := range list {
		page.Events[i] = api.OwnEvent{Number: e.Number, Type: string(e.Kind), ID: e.Device, Device: e.URI, At: e.At.UTC()}
	}
	return page, err
}

// awaitMyEvents is myEvents that waits for an event.
func (s *Server) awaitMyEvents(c echo.Context, who statements.Holder, since int64, limit int, wait time.Duration) error {
	conn := http.NewResponseController(c.Response())
	// The deadlines of the listener are for requests that are answered at once. Unlike those, this one reads nothing more.
	if err := errors.Join(conn.SetReadDeadline(time.Time{}), conn.SetWriteDeadline(time.Now().Add(wait+feedWrite))); err != nil {
		return err
	}
	_, token, _ := strings.Cut(c.Request().Header.Get("Authorization"), " ")
	ctx := c.Request().Context()
	over := time.NewTimer(wait)
	defer over.Stop()
	check := time.NewTicker(ownCheck)
	defer check.Stop()
	for done := false; ; {
		page, err := s.myEvents(c, who, since, limit)
		if err != nil {
			return err
		}
		if done || len(page.Events) > 0 {
			return encodeJSON(c, page)
		}
		select {
		case <-check.C:
		case <-over.C:
			done = true
		case <-s.Feed.Done(): // the server shuts down
			done = true
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.Time(); err != nil {
			return err
		}
		// What revokes the token while it waits ends the request.
		if _, err := s.ownToken(ctx, strings.TrimSpace(token)); err != nil {
			if errors.Is(err, dpop.ErrInvalidToken) {
				s.self.Refuse(c.Response(), c.Request(), err)
			}
			return err
		}
	}
}
