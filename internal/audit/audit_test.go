package audit_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/audit"
)

// formats are those of the log.
var formats = map[string]func(io.Writer) slog.Handler{
	"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
	"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
}

// full has every field.
var full = audit.Event{
	Kind: audit.DeviceRemoved, Actor: audit.ActorAdmin, Domain: "example.com", User: "u1", FormerUser: "u0", Handle: "alice", Device: "d1",
	Client: "app", Session: "s1", Credential: "c1", Statement: "st1", Key: "k1", Peer: "p1", Address: netip.MustParseAddr("2001:db8::1"), Reason: "found on a bus",
}

func TestLine(t *testing.T) {
	for name, test := range map[string]struct {
		event audit.Event
		want  string
	}{
		"every field": {full, `level=INFO msg="audit: device removed" audit=true event=device.removed actor=admin id=request-1 ` +
			`address=2001:db8::1 domain=example.com user=u1 former_user=u0 handle=alice ` +
			`device=d1 client=app session=s1 credential=c1 statement=st1 key=k1 peer=p1 reason="found on a bus"`},
		"few fields": {audit.Event{Kind: audit.KeyRevoked, Actor: audit.ActorIssuer, Key: "k1"},
			`level=WARN msg="audit: signing key revoked" audit=true event=key.revoked actor=issuer id=request-1 key=k1`},
		"no kind": {audit.Event{}, `level=INFO msg=audit audit=true event=Kind(0) id=request-1`},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			audit.New(slog.New(formats["text"](&log))).Record(audit.WithRequestID(t.Context(), "request-1"), test.event)
			if _, got, _ := strings.Cut(log.String(), " "); got != test.want+"\n" {
				t.Errorf("Record wrote\n%swant\n%s", got, test.want)
			}
		})
	}
}

// Record uses every field of an Event: a field that is added later must not be forgotten.
func TestEveryField(t *testing.T) {
	var log bytes.Buffer
	audit.New(slog.New(formats["json"](&log))).Record(t.Context(), full)
	event := reflect.ValueOf(full)
	for i := range event.NumField() {
		name := event.Type().Field(i).Name
		if event.Field(i).IsZero() {
			t.Errorf("the test leaves out the field %s", name)
		}
		value, _ := json.Marshal(event.Field(i).Interface())
		if name == "Kind" {
			value = []byte(`"device.removed"`)
		}
		if n := bytes.Count(log.Bytes(), value); n != 1 {
			t.Errorf("the line has the value of %s %d times, want once: %s", name, n, &log)
		}
	}
}

func TestNil(t *testing.T) {
	var r *audit.Recorder
	r.Record(t.Context(), full)
}

// Whatever a field holds, an event is one line, and a reader of the log finds no attribute that it does not have.
func TestOneLine(t *testing.T) {
	fake := `time=2026-01-01T00:00:00Z level=INFO msg="audit: user enabled" audit=true event=user.enabled`
	for name, value := range map[string]string{
		"line feed":           "lost\n" + fake,
		"carriage return":     "lost\r" + fake,
		"both":                "lost\r\n" + fake,
		"vertical tab":        "lost\v" + fake,
		"next line":           "lost\u0085" + fake,
		"line separator":      "lost\u2028" + fake,
		"paragraph separator": "lost\u2029" + fake,
		"quote":               `lost" event=user.enabled "` + fake,
		"escape sequence":     "lost\x1b[2K\x1b[1A" + fake,
		"C1 control":          "lost\u009b2K" + fake,
		"backspace":           "lost\b\b\b\b" + fake,
		"zero byte":           "lost\x00" + fake,
		"right to left":       "lost\u202e" + fake,
		"invalid UTF-8":       "lost\xff\xfe\n" + fake,
		"invalid at the end":  "lost\xe2\x80",
		"long":                strings.Repeat("long\n", 10000),
		"long, of one rune":   strings.Repeat("\u2028", 10000),
		"long, invalid":       strings.Repeat("\x80", 10000),
	} {
		for format, handler := range formats {
			t.Run(format+" "+name, func(t *testing.T) {
				hostile := audit.Event{
					Kind: audit.DeviceRemoved, Actor: audit.Actor(value), Domain: value, User: value, FormerUser: value, Handle: value,
					Device: value, Client: value, Session: value, Credential: value, Statement: value, Key: value, Reason: value,
					Address: netip.MustParseAddr("fe80::1%eth0").WithZone(value),
				}
				var log bytes.Buffer
				audit.New(slog.New(handler(&log))).Record(audit.WithRequestID(t.Context(), value), hostile)
				line, rest, ended := strings.Cut(log.String(), "\n")
				if !ended || rest != "" {
					t.Fatalf("wrote more than one line: %q", log.String())
				}
				if len(line) > 14*4*600 {
					t.Errorf("the line has %d bytes", len(line))
				}
				for _, r := range line {
					if r < ' ' || r >= 0x7f && r <= 0x9f || r == '\u2028' || r == '\u2029' || r == '\u202e' {
						t.Errorf("the line has %U: %q", r, line)
					}
				}
				names := attributes(t, format, line)
				if got, want := strings.Join(names, " "), "time level msg audit event actor id address domain user former_user "+
					"handle device client session credential statement key reason"; got != want {
					t.Errorf("a reader finds the attributes\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
}

var pair = regexp.MustCompile(`^([a-z_]+)=("(?:[^"\\]|\\.)*"|[^" ]+)(?: |$)`)

// attributes reads the names of a line of the log, in their order.
func attributes(t *testing.T, format, line string) (names []string) {
	if format == "text" {
		for line != "" {
			m := pair.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("not an attribute: %q", line)
			}
			names, line = append(names, m[1]), line[len(m[0]):]
		}
		return names
	}
	d := json.NewDecoder(strings.NewReader(line))
	for i := 0; ; i++ {
		token, err := d.Token()
		if err == io.EOF {
			return names
		} else if err != nil {
			t.Fatal(err)
		}
		if name, ok := token.(string); ok && i%2 == 1 {
			names = append(names, name)
		}
	}
}

var (
	row   = regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z_]+)` \\| (.+) \\| (.*)\\|$")
	field = regexp.MustCompile("`([a-z_]+)`")
)

// docs/audit.md describes each kind once, and no other.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	audit.New(slog.New(formats["text"](&log))).Record(audit.WithRequestID(t.Context(), "1"), full)
	fields := attributes(t, "text", strings.TrimSpace(log.String()))

	var got []string
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		got = append(got, m[1])
		for _, f := range field.FindAllStringSubmatch(m[3], -1) {
			if !slices.Contains(fields, f[1]) {
				t.Errorf("%s: the table lists the field %s, which no event has", m[1], f[1])
			}
		}
	}
	var want []string
	for _, k := range audit.Kinds() {
		want = append(want, k.String())
		if strings.HasPrefix(k.String(), "Kind") || k.String() == "" {
			t.Errorf("the kind %d has no name", k)
		}
	}
	for _, f := range fields[4:] {
		if !strings.Contains(string(page), "`"+f+"`") {
			t.Errorf("the page does not explain the field %s", f)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/audit.md describes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
