package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/revocation"
)

const (
	typeEventStream = "text/event-stream"
	defaultSilence  = 15 // seconds
	// streamAge is how long a stream lives: then its caller authenticates again.
	streamAge = time.Hour
	// streamEvents is how many events are written at once.
	streamEvents = 100
)

// position returns the cursor that a request continues from. A program that reads a stream sends the id of its last event in a header
// when it connects again, beside the parameter with which it began.
func position(r *http.Request, params url.Values) (string, error) {
	switch ids := r.Header.Values("Last-Event-Id"); {
	case len(ids) > 1:
		return "", invalid("There is more than one Last-Event-ID header.")
	case len(ids) == 1 && ids[0] != "":
		return ids[0], nil
	}
	return params.Get("after"), nil
}

// A stream writes events to a caller as Server-Sent Events (HTML, section 9.2).
type stream struct {
	*Server
	c    echo.Context
	conn *http.ResponseController
	sub  *revocation.Subscription
}

// stream answers with events as they come, until the caller leaves or may no longer listen. Between events it writes a comment after
// at most silence, which says that there was none.
func (s *Server) stream(c echo.Context, l listener, sub *revocation.Subscription, silence time.Duration) error {
	w := stream{Server: s, c: c, conn: http.NewResponseController(c.Response()), sub: sub}
	if err := w.conn.SetReadDeadline(time.Time{}); err != nil { // the request has been read
		return err
	}
	// The first thing that is checked is answered by a status, if it fails.
	if err := errors.Join(l.may(c.Request().Context()), sub.Fresh()); err != nil {
		return err
	}
	open := s.metrics.waiting.WithLabelValues(formStream)
	open.Inc()
	defer open.Dec()
	h := c.Response().Header()
	h["Cache-Control"] = noStoreOrChange
	h.Set(echo.HeaderContentType, typeEventStream)
	h.Set("X-Accel-Buffering", "no") // nginx would wait for more
	c.Response().WriteHeader(http.StatusOK)
	reason, err := w.run(c.Request().Context(), l, silence)
	if err != nil {
		return err // the caller has left, or reads too slowly
	}
	return w.write(append(append([]byte("event: end\ndata: {\"reason\":\""), reason...), "\"}\n\n"...))
}

// run writes events until the stream ends, and returns the reason. The error is that of a write.
func (w stream) run(ctx context.Context, l listener, silence time.Duration) (reason string, err error) {
	ends := w.Now().Add(streamAge)
	page, err := w.sub.Still()
	if err != nil {
		return "unavailable", nil
	}
	begin, err := json.Marshal(feed.Start{Key: page.Key, Domains: page.Domains})
	if err != nil {
		return "", err
	}
	text := append([]byte("retry: 2000\nevent: start\nid: "+page.Cursor+"\ndata: "), begin...)
	if err := w.write(append(text, "\n\n"...)); err != nil {
		return "", err
	}
	check := time.NewTicker(feedCheck)
	defer check.Stop()
	beat := time.NewTicker(silence)
	defer beat.Stop()
	for waited := false; ; waited = true {
		for more := true; more; {
			if reason := w.over(ctx, l, ends); reason != "" {
				return reason, nil
			}
			var news []revocation.News
			if news, more, err = w.sub.Next(streamEvents); err != nil {
				return reasonOf(err), nil
			}
			if err := w.events(news); err != nil {
				return "", err
			}
			w.metrics.told(news, w.Now(), waited)
			if len(news) > 0 {
				beat.Reset(silence)
			}
		}
		select {
		case <-w.sub.Ready():
		case <-check.C:
		case <-beat.C:
			if err := w.alive(); err != nil {
				return "", err
			}
		case <-w.Feed.Done():
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// over returns the reason for which the stream must end now, and "" if it need not.
func (w stream) over(ctx context.Context, l listener, ends time.Time) string {
	select {
	case <-w.Feed.Done():
		return "shutdown"
	default:
	}
	if !w.Now().Before(ends) {
		return "age"
	}
	if w.Time() != nil {
		return "unavailable"
	}
	if err := l.may(ctx); err != nil {
		return reasonOf(err)
	}
	return ""
}

// reasonOf returns the word for the error that ends a stream.
func reasonOf(err error) string {
	var unregistered *unregisteredError
	switch {
	case errors.Is(err, errAgain):
		return "registration"
	case errors.Is(err, dpop.ErrInvalidToken), errors.Is(err, clients.ErrRemoved), errors.As(err, &unregistered):
		return "access"
	case needsFreshStart(err) != "":
		return "fresh_start_required"
	}
	return "unavailable"
}

// events writes events, each with the position after it.
func (w stream) events(news []revocation.News) error {
	var text []byte
	for _, n := range news {
		id, err := w.sub.CursorAfter(n)
		if err != nil {
			return err
		}
		data, err := json.Marshal(n.Event)
		if err != nil {
			return err
		}
		text = append(append(append(text, "id: "+id+"\ndata: "...), data...), "\n\n"...)
	}
	if text == nil {
		return nil
	}
	return w.write(text)
}

// alive writes a comment that says that nothing happened, with the present position. The caller of it has just read the events, which
// fails unless the issuer knows.
func (w stream) alive() error {
	if w.sub.Fresh() != nil {
		return nil // the next check ends the stream
	}
	id, err := w.sub.Cursor()
	if err != nil {
		return err
	}
	return w.write([]byte(": alive\nid: " + id + "\n\n"))
}

// write writes a text at once. A caller that does not read it in time is dropped.
func (w stream) write(text []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(feedWrite)); err != nil {
		return err
	}
	if _, err := w.c.Response().Write(text); err != nil {
		return err
	}
	return w.conn.Flush()
}
