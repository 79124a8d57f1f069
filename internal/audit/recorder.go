package audit

import (
	"context"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxValue is how many bytes of a field a line holds.
const maxValue = 512

// A Recorder writes events into a log. A nil *Recorder records nothing. It is safe for concurrent use.
type Recorder struct{ log *slog.Logger }

// New returns a Recorder that writes to log.
func New(log *slog.Logger) *Recorder { return &Recorder{log} }

// Record writes one line: audit=true, the kind, the actor, the id of the request that ctx carries, and each field of e that is
// not empty. What e does not say of who acted, ctx does: see [WithOrigin]. Values keep to their line in every format of the log:
// characters that do not print are replaced, and long values are cut.
func (r *Recorder) Record(ctx context.Context, e Event) {
	if r == nil {
		return
	}
	e.complete(ctx)
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.Bool("audit", true), slog.String("event", e.Kind.String()))
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, printable(value)))
		}
	}
	add("actor", string(e.Actor))
	id, _ := ctx.Value(requestID{}).(string)
	add("id", id)
	if e.Address.IsValid() {
		add("address", e.Address.String())
	}
	add("domain", e.Domain)
	add("user", e.User)
	add("former_user", e.FormerUser)
	add("handle", e.Handle)
	add("device", e.Device)
	add("client", e.Client)
	add("session", e.Session)
	add("credential", e.Credential)
	add("statement", e.Statement)
	add("key", e.Key)
	add("peer", e.Peer)
	add("reason", e.Reason)

	level, text := slog.LevelInfo, "audit"
	if e.Kind > 0 && e.Kind < ended {
		text = "audit: " + kinds[e.Kind].text
		if kinds[e.Kind].warn {
			level = slog.LevelWarn
		}
	}
	r.log.LogAttrs(ctx, level, text, attrs...)
}

// printable returns value without line feeds, control characters, text direction marks and invalid UTF-8, and no longer than
// maxValue.
func printable(value string) string {
	if len(value) > maxValue {
		end := maxValue
		for !utf8.RuneStart(value[end]) && end > maxValue-utf8.UTFMax {
			end--
		}
		value = value[:end] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, value)
}

type requestID struct{}

// WithRequestID returns a context whose events carry the id of a request. The answer to the request shows the same id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestID{}, id)
}
