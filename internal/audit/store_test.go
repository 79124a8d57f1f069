package audit_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/storagetest"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 123_456_789, time.UTC)

// A book is a database with an audit log.
type book struct {
	storage.Store
	mu  sync.Mutex
	log bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

// lines returns what the log contains, and empties it.
func (b *book) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.log.Reset()
	return strings.Split(strings.TrimSuffix(b.log.String(), "\n"), "\n")
}

// newBook opens an empty database. Its operations fail as fail says, if that is not nil.
func newBook(t *testing.T, fail func(op string) error) *book {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := &book{}
	recorder := audit.New(slog.New(formats["text"](b)))
	b.Store = recorder.Store(storagetest.Faulty{Store: db, Fail: fail}, audit.Chain{Node: "main", Now: func() time.Time { return noon }})
	return b
}

func (b *book) append(t *testing.T, events ...audit.Event) error {
	t.Helper()
	return b.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for _, e := range events {
			if err := audit.Append(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *book) records(t *testing.T) []storage.AuditRecord {
	t.Helper()
	list, err := b.AuditRecords(t.Context(), "main", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A record has the ids of its event and the hash of the record before it. What else the event says of a person is outside, and the
// record commits to it.
func TestRecord(t *testing.T) {
	b := newBook(t, nil)
	ctx := audit.WithRequestID(t.Context(), "request-1")
	err := b.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(audit.Append(ctx, tx, full), audit.Append(ctx, tx, audit.Event{Kind: audit.KeyRotated, Actor: audit.ActorIssuer, Key: "k1"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	list := b.records(t)
	if len(list) != 2 {
		t.Fatalf("records = %+v, want two", list)
	}
	salt, values := list[0].Private[:32], list[0].Private[32:]
	if got, want := string(values), `{"address":"2001:db8::1","handle":"alice","reason":"found on a bus"}`; got != want {
		t.Errorf("private = %s, want %s", got, want)
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write(values)
	first := fmt.Sprintf(`{"actor":"admin","client":"app","credential":"c1","device":"d1","domain":"example.com","event":"device.removed","former_user":"u0",`+
		`"id":"request-1","key":"k1","node":"main","peer":"p1","prev":"%064x","private":"%x","seq":1,"session":"s1","statement":"st1",`+
		`"time":"2026-03-14T12:00:00.123Z","user":"u1","v":1}`, 0, mac.Sum(nil))
	if got := list[0].Record; got != first {
		t.Errorf("record =\n%s, want\n%s", got, first)
	}
	second := fmt.Sprintf(`{"actor":"issuer","event":"key.rotated","id":"request-1","key":"k1","node":"main","prev":"%x","seq":2,`+
		`"time":"2026-03-14T12:00:00.123Z","v":1}`, sha256.Sum256([]byte(first)))
	if got := list[1].Record; got != second || list[1].Private != nil || list[1].User != "" {
		t.Errorf("record = %+v, want\n%s", list[1], second)
	}
	for i, text := range []string{first, second} {
		if list[i].Hash != sha256.Sum256([]byte(text)) || list[i].Node != "main" || list[i].Seq != int64(i+1) || !list[i].At.Equal(noon.Truncate(time.Millisecond)) {
			t.Errorf("row %d = %+v", i, list[i])
		}
	}
	if list[0].Domain != "example.com" || list[0].User != "u1" {
		t.Errorf("the record is filed under %s %s", list[0].Domain, list[0].User)
	}
	var log bytes.Buffer
	audit.New(slog.New(formats["text"](&log))).Record(ctx, full)
	if got := b.lines(); len(got) != 2 || cutTime(got[0]) != cutTime(strings.TrimSuffix(log.String(), "\n")) {
		t.Errorf("the log has\n%s\nwant first\n%s", strings.Join(got, "\n"), &log)
	}
}

func cutTime(line string) string {
	_, rest, _ := strings.Cut(line, " ")
	return rest
}

// Every field of an event is in its record or beside it: a field that is added later must not be forgotten.
func TestRecordHasEveryField(t *testing.T) {
	b := newBook(t, nil)
	if err := b.append(t, full); err != nil {
		t.Fatal(err)
	}
	row := b.records(t)[0]
	event := reflect.ValueOf(full)
	for i := range event.NumField() {
		name := event.Type().Field(i).Name
		value, _ := json.Marshal(event.Field(i).Interface())
		if name == "Kind" {
			value = []byte(`"device.removed"`)
		}
		if n := strings.Count(row.Record+string(row.Private), string(value)); n != 1 {
			t.Errorf("the record has the value of %s %d times, want once: %s", name, n, row.Record)
		}
	}
}

// Whatever a field holds, the record is the canonical form (RFC 8785) of itself: encoding/json reads it and a canonical writer returns
// the same bytes.
func TestRecordIsCanonical(t *testing.T) {
	for _, value := range []string{"\"\\", "a\nb\tc\x00", "<&>", "é😀", "\u2028\u202e", "bad\xff", strings.Repeat("long", 1000), "\u007f\u0085"} {
		b := newBook(t, nil)
		hostile := full
		hostile.Domain, hostile.User, hostile.Client, hostile.Handle, hostile.Reason, hostile.Peer = value, value, value, value, value, value
		hostile.Address = netip.MustParseAddr("fe80::1").WithZone(value)
		if err := b.append(t, hostile); err != nil {
			t.Fatal(err)
		}
		row := b.records(t)[0]
		for _, text := range []string{row.Record, string(row.Private[32:])} {
			var members map[string]any
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			if err := d.Decode(&members); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			var again bytes.Buffer // encoding/json sorts the names
			e := json.NewEncoder(&again)
			e.SetEscapeHTML(false)
			if err := e.Encode(members); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSuffix(again.String(), "\n"); got != text {
				t.Errorf("record =\n%s, in canonical form\n%s", text, got)
			}
		}
	}
}

// What an event does not say of who acted, the context does. An event without an actor is an error, and nothing is committed.
func TestOrigin(t *testing.T) {
	b := newBook(t, nil)
	origin := audit.Origin{Actor: audit.ActorUser, Address: netip.MustParseAddr("192.0.2.1"), Client: "app", Session: "s1"}
	err := b.Update(audit.WithOrigin(t.Context(), origin), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(audit.Append(ctx, tx, audit.Event{Kind: audit.DeviceRenamed}), audit.Append(ctx, tx, full))
	})
	if err != nil {
		t.Fatal(err)
	}
	list := b.records(t)
	if r := list[0]; !strings.Contains(r.Record, `"actor":"user","client":"app"`) || !strings.Contains(r.Record, `"session":"s1"`) ||
		!strings.Contains(string(r.Private), `"address":"192.0.2.1"`) {
		t.Errorf("record = %s %s, want the origin in it", r.Record, r.Private)
	}
	if r := list[1]; !strings.Contains(r.Record, `"actor":"admin"`) || !strings.Contains(string(r.Private), "2001:db8::1") {
		t.Errorf("record = %s %s, want what the event says", r.Record, r.Private)
	}
	for name, e := range map[string]audit.Event{"no actor": {Kind: audit.DeviceRenamed}, "no kind": {Actor: audit.ActorUser}, "unknown kind": {Kind: 255, Actor: audit.ActorUser}} {
		if err := b.append(t, e); err == nil {
			t.Errorf("%s: Append = nil, want an error", name)
		}
	}
	if n := len(b.records(t)); n != 2 {
		t.Errorf("there are %d records, want 2", n)
	}
}

// An act that fails leaves neither record nor line, wherever it fails. A record whose acknowledgement is lost is there.
func TestNoActNoRecord(t *testing.T) {
	fire := errors.New("disk on fire")
	for _, op := range []string{"AuditHead", "AppendAudit", "PutSecret", "Commit", "Committed"} {
		t.Run(op, func(t *testing.T) {
			burning := false
			b := newBook(t, func(o string) error {
				if burning && o == op {
					return fire
				}
				return nil
			})
			act := func(name string) error {
				return b.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					if err := audit.Append(ctx, tx, audit.Event{Kind: audit.KeyRotated, Actor: audit.ActorIssuer, Key: name}); err != nil {
						return err
					}
					return tx.PutSecret(ctx, name, []byte{1})
				})
			}
			if err := act("first"); err != nil {
				t.Fatal(err)
			}
			burning = true
			if err := act("second"); !errors.Is(err, fire) {
				t.Fatalf("Update = %v, want %v", err, fire)
			}
			burning = false
			_, err := b.Secret(t.Context(), "second")
			acted := err == nil
			if acted != (op == "Committed") {
				t.Errorf("Secret = %v", err)
			}
			want := 1
			if acted {
				want = 2
			}
			if list := b.records(t); len(list) != want {
				t.Errorf("there are %d records, want %d", len(list), want)
			}
			if lines := b.lines(); len(lines) != 1 {
				t.Errorf("the log has %q, want the first line", lines)
			}
			if err := act("third"); err != nil {
				t.Fatal(err)
			}
			checkChain(t, b.records(t))
		})
	}
}

// checkChain holds that records are one chain.
func checkChain(t *testing.T, list []storage.AuditRecord) {
	t.Helper()
	prev := strings.Repeat("0", 64)
	for i, r := range list {
		if !strings.Contains(r.Record, fmt.Sprintf(`"prev":%q`, prev)) || !strings.Contains(r.Record, fmt.Sprintf(`"seq":%d`, i+1)) {
			t.Fatalf("record %d = %s, want it after %s", i+1, r.Record, prev)
		}
		sum := sha256.Sum256([]byte(r.Record))
		prev = hex.EncodeToString(sum[:])
	}
}

// Racing updates, half of which fail, write one chain: each act has its record and its line, each failure none.
func TestRacedRecords(t *testing.T) {
	b := newBook(t, nil)
	const n = 40
	undone := errors.New("undone")
	var wg sync.WaitGroup
	for i := range 2 * n {
		wg.Go(func() {
			err := b.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				name := fmt.Sprint("key-", i)
				for _, kind := range []audit.Kind{audit.KeyRotated, audit.KeyRevoked} {
					if err := audit.Append(ctx, tx, audit.Event{Kind: kind, Actor: audit.ActorIssuer, Key: name}); err != nil {
						return err
					}
				}
				if err := tx.PutSecret(ctx, name, []byte{1}); err != nil || i%2 == 0 {
					return err
				}
				return undone
			})
			if err != nil && err != undone {
				t.Errorf("Update = %v", err)
			}
		})
	}
	wg.Wait()
	list := b.records(t)
	if len(list) != 2*n {
		t.Errorf("there are %d records, want %d", len(list), 2*n)
	}
	checkChain(t, list)
	text := ""
	for _, r := range list {
		text += r.Record
	}
	lines := strings.Join(b.lines(), "\n") + "\n"
	for i := range 2 * n {
		_, err := b.Secret(t.Context(), fmt.Sprint("key-", i))
		want := 0
		if err == nil {
			want = 2
		}
		if got := strings.Count(text, fmt.Sprintf(`"key":"key-%d"`, i)); got != want || want != 2-2*(i%2) {
			t.Errorf("act %d: %v, %d records", i, err, got)
		}
		if got := strings.Count(lines, fmt.Sprintf(" key=key-%d\n", i)); got != want {
			t.Errorf("act %d: %v, %d lines", i, err, got)
		}
	}
}

// A store without an audit log records nothing.
func TestNoLog(t *testing.T) {
	b := newBook(t, nil)
	bare, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	b.Store = bare
	if err := b.append(t, audit.Event{}); err != nil {
		t.Errorf("Append = %v, want nil", err)
	}
	if list := b.records(t); len(list) != 0 {
		t.Errorf("records = %+v, want none", list)
	}
}

// An error of the salt's source undoes the act.
func TestNoSalt(t *testing.T) {
	db, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	b := &book{Store: audit.New(slog.New(slog.DiscardHandler)).Store(db, audit.Chain{Node: "main", Rand: strings.NewReader("short")})}
	if err := b.append(t, full); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Append = %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if list := b.records(t); len(list) != 0 {
		t.Errorf("records = %+v, want none", list)
	}
}
