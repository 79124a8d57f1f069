package cert

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/published"
)

// Defaults for the zero values of [CRLReaderConfig].
const (
	DefaultFresh  = 5 * time.Minute
	DefaultSize   = 4 << 20
	DefaultLists  = 256
	DefaultMemory = 64 << 20
)

// CRLReaderConfig configures [NewCRLReader].
type CRLReaderConfig struct {
	// Client fetches the lists. Their addresses come from certificates, so a client must not reach hosts that their CAs should not. Nil
	// means the strictest client: https, public addresses only, no redirects.
	Client *http.Client
	// Fresh is how long a list is used before it is fetched again. Zero means [DefaultFresh].
	Fresh time.Duration
	// MaxStale is for how long after that a list is used while no newer one can be fetched; never after its nextUpdate. Zero means that
	// it is not: the status cannot be known while the list cannot be fetched.
	MaxStale time.Duration
	// Size bounds the bytes of one list. Zero means [DefaultSize].
	Size int
	// Lists and Memory bound how many lists are kept, and how many bytes they have. The one that was not used for longest is dropped
	// first. Zero means [DefaultLists] and [DefaultMemory].
	Lists, Memory int
	// AllowHTTP permits http addresses: the CAs of many enterprises have no others, and lists are signed.
	AllowHTTP bool
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A CRLReader fetches the revocation lists that certificates name. It keeps lists as long as they allow, and equal questions at the same
// time share one request. It is safe for concurrent use.
type CRLReader struct {
	cfg   CRLReaderConfig
	lists *published.Shelf[place, *kept, mark]
}

// A place is where a list is published, and the certificate of the CA that signs it. Lists of two CAs are never shared, even at one
// address.
type place struct {
	ca  [sha256.Size]byte
	url string
}

// NewCRLReader returns a reader that has no lists yet.
func NewCRLReader(cfg CRLReaderConfig) (*CRLReader, error) {
	cfg.Fresh, cfg.Size = cmp.Or(cfg.Fresh, DefaultFresh), cmp.Or(cfg.Size, DefaultSize)
	cfg.Lists, cfg.Memory = cmp.Or(cfg.Lists, DefaultLists), cmp.Or(cfg.Memory, DefaultMemory)
	if cfg.Fresh < 0 || cfg.MaxStale < 0 || cfg.Size < 0 || cfg.Lists < 0 || cfg.Memory < 0 {
		return nil, errors.New("cert: the bounds of CRLReaderConfig must not be negative")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Client == nil {
		var err error
		if cfg.Client, err = fetch.NewForeignClient(fetch.Policy{MaxBody: int64(cfg.Size), AllowHTTP: cfg.AllowHTTP}); err != nil {
			return nil, fmt.Errorf("cert: %w", err)
		}
	}
	return &CRLReader{cfg: cfg, lists: published.NewShelf[place](cfg.Lists, cfg.Memory, (*kept).mark)}, nil
}

// CRL returns the list of a CA that is published at the first usable address. If none can be had there, the next one is asked, at most
// three in all. Each error wraps [ErrUnknown], and is that of the first address.
func (r *CRLReader) CRL(ctx context.Context, issuer *x509.Certificate, urls []string) (*CRL, error) {
	var (
		failed []*kept // of the addresses before
		first  error
	)
	for i, url := range urls {
		if checkURL(url, r.cfg.AllowHTTP) != nil || slices.Contains(urls[:i], url) {
			continue
		}
		k := r.at(issuer, url)
		doc, err := k.cache.Get(ctx, published.Any)
		switch {
		case err != nil:
			err = k.unknown(err)
		case !doc.About(urls):
			err = ErrScope
		case slices.ContainsFunc(failed, func(other *kept) bool { return other.hasNewerThan(doc) }):
			err = ErrRollback
		default:
			r.lists.Keep(k.place, k, doc.size)
			return doc.CRL, nil
		}
		first = cmp.Or(first, err)
		if failed = append(failed, k); len(failed) == maxAddresses || ctx.Err() != nil {
			break
		}
	}
	return nil, cmp.Or(first, fmt.Errorf("%w: the certificate names no address that may be asked", ErrUnreachable))
}

// maxAddresses is how many addresses of one list are asked: they come from certificates.
const maxAddresses = 3

// at returns what is kept of the list of a CA at an address.
func (r *CRLReader) at(issuer *x509.Certificate, url string) *kept {
	key := place{sha256.Sum256(issuer.Raw), url}
	return r.lists.Entry(key, func(newest mark) *kept {
		k := &kept{reader: r, place: key, issuer: issuer, newest: newest}
		k.cache = published.New(published.Config[*document]{Fetch: k.fetch, Life: k.life, Now: r.cfg.Now})
		return k
	})
}

// A kept is what a reader keeps of one list.
type kept struct {
	reader *CRLReader
	place  place
	issuer *x509.Certificate
	cache  *published.Cache[*document]

	mu     sync.Mutex
	newest mark
	failed error // of the last fetch
}

// A document is a list that was fetched and verified.
type document struct {
	*CRL
	etag string
}

// life returns how long a list is used that was fetched at a time: never after its nextUpdate.
func (k *kept) life(doc *document, fetched time.Time) (fresh, stale time.Duration) {
	left := doc.Until.Sub(fetched)
	fresh = min(k.reader.cfg.Fresh, left)
	return fresh, min(fresh+k.reader.cfg.MaxStale, left)
}

// unknown returns the error for a list that the cache does not have.
func (k *kept) unknown(err error) error {
	k.mu.Lock()
	failed := k.failed
	k.mu.Unlock()
	if errors.Is(err, published.ErrUnavailable) && failed != nil {
		return failed
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// mark returns what is remembered of the list when it is dropped, and false if none was fetched.
func (k *kept) mark() (mark, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.newest, !k.newest.from.IsZero()
}

// hasNewerThan reports whether a newer list was seen at the address than one from elsewhere.
func (k *kept) hasNewerThan(doc *document) bool {
	newest, ok := k.mark()
	return ok && doc.olderThan(newest)
}

// fetch fetches the list again, or confirms the one from before.
func (k *kept) fetch(ctx context.Context) (*document, error) {
	doc, err := k.load(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && doc.olderThan(k.newest) {
		doc, err = nil, ErrRollback
	}
	if err == nil {
		k.newest = mark{doc.Number, doc.From}
	}
	k.failed = err
	return doc, err
}

func (k *kept) load(ctx context.Context) (*document, error) {
	cfg := &k.reader.cfg
	req, err := http.NewRequestWithContext(fetch.For(ctx, fetch.CRL), http.MethodGet, k.place.url, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: no request can be made of its address", ErrUnreachable)
	}
	req.Header.Set("Accept", MediaTypeCRL)
	last, _ := k.cache.Last()
	etag := ""
	if last != nil && last.valid(cfg.Now()) == nil {
		etag = last.etag
	}
	// The second type is an older name.
	body, tag, err := published.ReadChanged(cfg.Client, req, etag, int64(cfg.Size), MediaTypeCRL, "application/x-pkcs7-crl")
	switch {
	case errors.Is(err, published.ErrNotModified):
		return last, nil
	case err != nil:
		return nil, unreadable(err)
	}
	list, err := ParseCRL(body)
	if err == nil {
		err = list.Verify(k.issuer, cfg.Now())
	}
	if err != nil {
		return nil, err
	}
	return &document{list, tag}, nil
}

// unreadable sorts an error of [published.ReadChanged].
func unreadable(err error) error {
	reason := ErrUnreachable
	if refused := (*fetch.RefusedError)(nil); errors.As(err, &refused) {
		switch refused.Part {
		case "size":
			reason = ErrTooLarge
		case "type":
			reason = ErrMalformed
		}
	}
	return fmt.Errorf("%w: %w", reason, err)
}
