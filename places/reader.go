package places

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
)

// A Resolver looks up TXT records. A [net.Resolver] is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// ReaderConfig configures a [Reader].
type ReaderConfig struct {
	// Client sends the requests. Redirects are refused, whatever it does with them. Nil means one that reaches public addresses alone, by
	// https at port 443.
	Client *http.Client
	// Resolver looks up the records. Nil means [net.DefaultResolver].
	Resolver Resolver
	// Timeout bounds looking at all places of a profile. Zero means ten seconds.
	Timeout time.Duration
}

// A Reader looks at places, and gets profiles. It may be used concurrently.
type Reader struct {
	client   *http.Client
	resolver Resolver
	timeout  time.Duration
}

// NewReader returns a reader.
func NewReader(cfg ReaderConfig) (*Reader, error) {
	if cfg.Timeout < 0 {
		return nil, errors.New("places: negative limit")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = maxLooking
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Client == nil {
		var err error
		if cfg.Client, err = fetch.NewForeignClient(fetch.Policy{Timeout: cfg.Timeout, MaxBody: MaxAnswer}); err != nil {
			return nil, err
		}
	}
	client := *cfg.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return &Reader{&client, cfg.Resolver, cfg.Timeout}, nil
}

// A Look is what a place shows.
type Look struct {
	Place Place
	// Shows are the fingerprints of the addresses that the place shows. Without an error, none means that the place answered and shows
	// none, or that there is no such place.
	Shows []string
	// Err is an [*Error] with CodeUnreachable if the place cannot be known now, and with CodeRefused if its answer does not count.
	Err error
}

// Profile gets the profile of an address, unparsed. The error is an [*Error] with CodeMissing if there is none, or as in [Look].
func (r *Reader) Profile(ctx context.Context, a Address) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	body, err := r.get(ctx, a.URL(), MediaType, MediaType)
	if err != nil {
		return "", err
	}
	if body == nil {
		return "", refuse("", CodeMissing, "there is no profile at %s", a.URL())
	}
	return strings.TrimSpace(string(body)), nil
}

// Look looks at places, four at a time, and returns what they show, in their order. It returns within the time-out: places that have not
// answered by then are unreachable. At most [MaxPlaces] are looked at.
func (r *Reader) Look(ctx context.Context, list []Place) []Look {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	looks := make([]Look, min(len(list), MaxPlaces))
	slots := make(chan struct{}, maxAtOnce)
	var all sync.WaitGroup
	for i := range looks {
		looks[i].Place = list[i]
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			looks[i].Shows, looks[i].Err = r.look(ctx, &looks[i].Place)
		})
	}
	all.Wait()
	return looks
}

func (r *Reader) look(ctx context.Context, p *Place) ([]string, error) {
	switch {
	case p.kind == nil:
		return nil, refuse("place", CodePlace, "not made by ParsePlace")
	case p.kind == dnsKind:
		return r.records(ctx, p.host)
	}
	body, err := r.get(ctx, p.kind.request(p), p.kind.accept, p.kind.types...)
	if err != nil || body == nil {
		return nil, err
	}
	shown, err := p.kind.read(p, body)
	if err != nil {
		return nil, refuse("", CodeRefused, "the answer: %w", err)
	}
	return shown, nil
}

// records looks up the TXT records of a name.
func (r *Reader) records(ctx context.Context, name string) ([]string, error) {
	type answer struct {
		records []string
		err     error
	}
	answers := make(chan answer, 1) // resolvers of some systems do not return in time
	go func() {
		records, err := r.resolver.LookupTXT(ctx, name+".") // a dot, so that no search list applies
		answers <- answer{records, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		a.err = ctx.Err()
	}
	if at := (*net.DNSError)(nil); errors.As(a.err, &at) && at.IsNotFound {
		return nil, nil
	}
	if a.err != nil {
		return nil, refuse("", CodeUnreachable, "%w", a.err)
	}
	size := 0
	for _, record := range a.records {
		size += len(record)
	}
	if len(a.records) > maxRecords || size > MaxAnswer {
		return nil, refuse("", CodeRefused, "more than %d records or %d bytes", maxRecords, MaxAnswer)
	}
	return addresses(strings.Join(a.records, "\n")), nil
}

// get gets a document of one of some types. It returns nil if there is none.
func (r *Reader) get(ctx context.Context, url, accept string, types ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, refuse("", CodeRefused, "%w", err)
	}
	req.Header.Set("Accept", accept)
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, failed(err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound, code == http.StatusGone:
		return nil, nil
	case code/100 == 3:
		return nil, refuse("", CodeRefused, "answered with a redirect")
	case code != http.StatusOK: // a limit on requests, a login, an outage: no statement about the place
		return nil, refuse("", CodeUnreachable, "answered %d", code)
	}
	if err := fetch.CheckType(resp, types...); err != nil {
		return nil, failed(err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err == nil {
		err = ctx.Err() // a server may end its answer in order when the time is over
	}
	switch {
	case err != nil:
		return nil, failed(err)
	case len(body) > MaxAnswer:
		return nil, refuse("", CodeRefused, "more than %d bytes", MaxAnswer)
	}
	return body, nil
}

// failed tells an answer that does not count from one that did not come.
func failed(err error) error {
	if at := (*fetch.RefusedError)(nil); errors.As(err, &at) {
		return &Error{"", CodeRefused, at}
	}
	return &Error{"", CodeUnreachable, err}
}
