package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// FollowerConfig configures a [Follower].
type FollowerConfig struct {
	// Issuer is the issuer's URL. Required.
	Issuer string
	// Authorize adds credentials to a request: HTTP Basic, or the access token for which Client makes the proofs. It is called for
	// each request. Required.
	Authorize func(r *http.Request) error
	// Client sends the requests. It must not have a timeout of less than Wait and 15 s, and none for streams; with an access token its
	// transport makes the proofs, as that of package dpop does. Nil means a client without a timeout.
	Client *http.Client
	// Stream follows a stream instead of asking for each page.
	Stream bool
	// Wait is how long the issuer may be silent, in whole seconds. Zero means 30 s, and one minute is the most.
	Wait time.Duration
	// Event is called with each event, in order. Nil calls nothing: the caller asks [Follower.Ended].
	Event func(Key, Event)
	// Reset is called at each fresh start: nothing that was learned of tokens before it may be kept. Nil calls nothing.
	Reset func()
	// Trouble is called with the reason when a request has failed, before the Follower waits and tries again. Nil calls nothing.
	Trouble func(error)
	// Now reports the time, and After returns a channel that receives after a while. Nil means [time.Now] and [time.After].
	Now   func() time.Time
	After func(d time.Duration) <-chan time.Time
}

// How long a Follower waits before it tries again, and for how much longer than agreed it waits for an answer.
const (
	firstPause = time.Second
	maxPause   = time.Minute
	grace      = 15 * time.Second
)

// A StatusError is the answer of an issuer that refuses a request for events.
type StatusError struct {
	Status int
	Code   string // of the OAuth error, such as insufficient_scope; may be empty

	retryAfter time.Duration
}

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("feed: the issuer answers %d %s", e.Status, e.Code))
}

// lost reports whether the position cannot be continued.
func (e *StatusError) lost() bool {
	return e.Status == http.StatusGone || e.Status == http.StatusBadRequest && e.Code == "invalid_cursor"
}

var (
	errSilent = errors.New("feed: the issuer has sent nothing for longer than agreed")
	errHasty  = errors.New("feed: the issuer does not wait")
	errKeys   = errors.New("feed: the issuer has changed the key of the hashes")
	errEnded  = errors.New("feed: the stream has ended")
)

// A Follower follows the revocations of an issuer: it connects again after failures, continues from its position, and starts afresh if
// it has to. It knows the latest events, so that answers that were on their way when an event came are not taken for news: see
// [Follower.Mark]. It is safe for concurrent use.
type Follower struct {
	cfg  FollowerConfig
	feed *url.URL
	known
	cursor string // of [Follower.Run]; empty for a fresh start
}

// NewFollower returns a Follower. It follows once [Follower.Run] is called.
func NewFollower(cfg FollowerConfig) (*Follower, error) {
	if cfg.Authorize == nil {
		return nil, errors.New("feed: FollowerConfig needs Authorize")
	}
	feed, err := url.Parse(strings.TrimSuffix(cfg.Issuer, "/") + Path)
	if err != nil || feed.Host == "" || feed.Scheme != "https" && feed.Scheme != "http" {
		return nil, errors.New("feed: FollowerConfig.Issuer is not the URL of an issuer")
	}
	if cfg.Wait == 0 {
		cfg.Wait = 30 * time.Second
	}
	if cfg.Wait < time.Second || cfg.Wait > time.Minute || cfg.Wait%time.Second != 0 {
		return nil, errors.New("feed: FollowerConfig.Wait is not from 1 s to 1 min, in whole seconds")
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.After == nil {
		cfg.After = time.After
	}
	if cfg.Reset == nil {
		cfg.Reset = func() {}
	}
	if cfg.Event == nil {
		cfg.Event = func(Key, Event) {}
	}
	if cfg.Trouble == nil {
		cfg.Trouble = func(error) {}
	}
	return &Follower{cfg: cfg, feed: feed}, nil
}

// Run follows until ctx ends, and returns its error. It must not be called twice at once.
func (f *Follower) Run(ctx context.Context) error {
	pause := firstPause
	for {
		began := f.heard()
		err := f.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !f.heard().Equal(began) { // something was learned
			pause = firstPause
		}
		var status *StatusError
		switch {
		case err == nil:
			continue
		case errors.Is(err, errKeys), errors.As(err, &status) && status.lost() && f.cursor != "":
			f.cursor = "" // a fresh start
			f.reset()
			f.cfg.Reset()
		}
		f.cfg.Trouble(err)
		wait := pause
		if status != nil {
			wait = max(wait, min(status.retryAfter, maxPause))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.cfg.After(wait):
		}
		pause = min(2*pause, maxPause)
	}
}

// once reads one page, or a stream until it ends.
func (f *Follower) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	life := f.watch(ctx, cancel)
	fresh, asked := f.cursor == "", f.cfg.Now()
	resp, err := f.ask(ctx)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	if f.cfg.Stream {
		err = f.readStream(resp.Body, life)
	} else {
		err = f.readPage(resp.Body, fresh, asked)
	}
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// watch cancels a request that is silent for longer than agreed. Each call of the function that it returns is a sign of life.
func (f *Follower) watch(ctx context.Context, cancel context.CancelCauseFunc) (life func()) {
	signs := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signs:
			case <-f.cfg.After(f.cfg.Wait + grace):
				cancel(errSilent)
				return
			}
		}
	}()
	return func() {
		select {
		case signs <- struct{}{}:
		default:
		}
	}
}

// ask sends a request for events, and returns its answer if that is what was asked for.
func (f *Follower) ask(ctx context.Context) (*http.Response, error) {
	query := url.Values{"wait": {strconv.Itoa(int(f.cfg.Wait / time.Second))}}
	if f.cursor != "" {
		query.Set("after", f.cursor)
	}
	to := *f.feed
	to.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, err
	}
	want := "application/json"
	if f.cfg.Stream {
		want = "text/event-stream"
	}
	r.Header.Set("Accept", want)
	if err := f.cfg.Authorize(r); err != nil {
		return nil, fmt.Errorf("feed: authorize: %w", err)
	}
	resp, err := f.cfg.Client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && err == nil && got == want {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil, fmt.Errorf("feed: the answer is of type %q, want %s", got, want)
	}
	refused := &StatusError{Status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		refused.retryAfter = time.Duration(min(seconds, int(maxPause/time.Second))) * time.Second
	}
	var body struct {
		Error string `json:"error"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err == nil && json.Unmarshal(text, &body) == nil && len(body.Error) <= 64 {
		refused.Code = body.Error
	}
	return nil, refused
}

// readPage reads the answer to a question that was asked at a time.
func (f *Follower) readPage(body io.Reader, fresh bool, asked time.Time) error {
	text, err := io.ReadAll(io.LimitReader(body, maxPage+1))
	if err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	page, err := ParsePage(text)
	if err != nil {
		return err
	}
	if err := f.enter(page.Key, page.Domains, fresh); err != nil {
		return err
	}
	for _, e := range page.Events {
		f.take(e)
	}
	f.cursor = page.Cursor
	if f.alive(f.cfg.Now()); !fresh && len(page.Events) == 0 && !page.More && f.cfg.Now().Sub(asked) < firstPause {
		return errHasty // or it would be asked again and again
	}
	return nil
}

// readStream reads a stream until it ends, which is an error.
func (f *Follower) readStream(body io.Reader, life func()) error {
	blocks := newBlockReader(body)
	first, err := blocks.next()
	if err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	start, err := parseStart(first.data)
	if err == nil && (first.event != "start" || !isCursor(first.id)) {
		err = errors.New("feed: the first event of the stream is not start with an id")
	}
	if err != nil {
		return err
	}
	if err := f.enter(start.Key, start.Domains, f.cursor == ""); err != nil {
		return err
	}
	f.cursor = first.id
	f.alive(f.cfg.Now())
	for {
		b, err := blocks.next()
		if err != nil {
			return fmt.Errorf("feed: %w", err)
		}
		life()
		if b.id != "" && !isCursor(b.id) {
			return errors.New("feed: an id of the stream is no cursor")
		}
		switch {
		case b.event == "end":
			return errEnded
		case b.alive || b.event != "": // of a type that does not exist yet
		default:
			e, err := ParseEvent([]byte(b.data))
			if err != nil {
				return err
			}
			f.take(e)
		}
		if b.id != "" {
			f.cursor = b.id
		}
		f.alive(f.cfg.Now())
	}
}

// enter notes the key of the hashes and the domains. The error tells that what was learned before is of no use.
func (f *Follower) enter(key Key, domains []string, fresh bool) error {
	if !f.known.begin(key, domains, fresh) {
		return errKeys
	}
	if fresh {
		f.cfg.Reset()
	}
	return nil
}

// take tells of an event.
func (f *Follower) take(e Event) {
	f.cfg.Event(f.add(e), e)
}
