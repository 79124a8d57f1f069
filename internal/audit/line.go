package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// An export is lines of JSON: first one about the export, then the records of each chain in their order, each followed by its signed
// head if it has one, and last one that counts them. A chain whose beginning was removed begins with the signed head of the last removed
// record.

// MaxLine is how many bytes a line of an export may have.
const MaxLine = 64 << 10

// A Filter says that an export is a part of the audit log. The zero Filter is that of a whole one.
type Filter struct {
	// Since and Until restrict it to records of that time, in the form of the member time: from Since on, and before Until.
	Since, Until string
	// Domain and User restrict it to records about a user.
	Domain, User string
	// Node restricts it to a chain, and After to the records after a number.
	Node  string
	After int64
}

// A line is one line of an export. Exactly one of start, record, head and end is set.
type line struct {
	start  *start
	record *exported
	head   string
	end    *end
}

// A start is the first line.
type start struct {
	issuer string
	filter Filter
}

// An exported record is a record with what is kept beside it.
type exported struct {
	storage.AuditRecord
	prev    [32]byte
	event   string
	private string // the commitment
}

// An end is the last line.
type end struct{ records, heads int64 }

// appendTo appends the line, without a line feed. The values of a line that was read are those of that line.
func (l *line) appendTo(data []byte) []byte {
	b := object{append(data, '{')}
	switch {
	case l.start != nil:
		f := l.start.filter
		if f.After > 0 {
			b.number("after", f.After)
		}
		b.text("domain", f.Domain)
		b.text("issuer", l.start.issuer)
		b.text("node", f.Node)
		b.text("since", f.Since)
		b.text("until", f.Until)
		b.text("user", f.User)
		b.number("v", version)
	case l.record != nil:
		b.text("hash", hex.EncodeToString(l.record.Hash[:]))
		if private := l.record.Private; len(private) > saltSize {
			b.raw("private", `{"salt":"`+hex.EncodeToString(private[:saltSize])+`","values":`+string(private[saltSize:])+"}")
		}
		b.raw("record", l.record.Record)
	case l.end != nil:
		b.number("heads", l.end.heads)
		b.number("records", l.end.records)
	default:
		b.text("head", l.head)
	}
	return append(b.data, '}')
}

// raw adds a member whose value is JSON.
func (o *object) raw(name, value string) {
	o.name(name)
	o.data = append(o.data, value...)
}

// readLine reads a line. It accepts exactly what appendTo writes: any other form, even of the same values, is an error.
func readLine(text string) (l line, err error) {
	if len(text) > MaxLine {
		return line{}, fmt.Errorf("the line has more than %d bytes", MaxLine)
	}
	m, err := readMembers([]byte(text))
	if err != nil {
		return line{}, err
	}
	switch {
	case m.has("record"):
		l.record, err = readRecord(m)
	case m.has("head"):
		l.head = m.text("head")
	case m.has("records"):
		l.end = &end{m.number("records"), m.number("heads")}
	case m.has("issuer"):
		s := start{issuer: m.text("issuer")}
		f := &s.filter
		for name, to := range map[string]*string{
			"since": &f.Since, "until": &f.Until, "domain": &f.Domain, "user": &f.User, "node": &f.Node,
		} {
			if m.has(name) {
				*to = m.text(name)
			}
		}
		if m.has("after") {
			f.After = m.number("after")
		}
		l.start = &s
	default:
		return line{}, errors.New("it is no line of an export")
	}
	if err = errors.Join(err, m.err); err != nil {
		return line{}, err
	}
	if string(l.appendTo(nil)) != text {
		return line{}, errors.New("it is not in the form in which it was exported")
	}
	return l, nil
}

// readRecord reads a record and what is kept beside it.
func readRecord(m members) (*exported, error) {
	r := &exported{AuditRecord: storage.AuditRecord{Record: m.values["record"], Hash: m.hash("hash")}}
	if m.has("private") {
		p, err := readMembers([]byte(m.values["private"]))
		if err != nil {
			return nil, err
		}
		salt, err := hex.DecodeString(p.text("salt"))
		if p.err != nil || err != nil || len(salt) != saltSize {
			return nil, errors.New("the salt is not 32 bytes in hexadecimal")
		}
		if _, err := readMembers([]byte(p.values["values"])); err != nil {
			return nil, err
		}
		r.Private = append(salt, p.values["values"]...)
	}
	in, err := readMembers([]byte(r.Record))
	if err != nil {
		return nil, err
	}
	r.Node, r.Seq, r.prev, r.event = in.text("node"), in.number("seq"), in.hash("prev"), in.text("event")
	if in.has("private") {
		r.private = in.text("private")
	}
	if v := in.number("v"); in.err == nil && v != version {
		return nil, fmt.Errorf("the record has version %d, which this release does not know", v)
	}
	if in.err == nil && (r.Seq < 1 || r.Node == "") {
		return nil, errors.New("the record has no number or no node")
	}
	return r, in.err
}

// members are the members of a JSON object. It keeps the first error of its methods.
type members struct {
	values map[string]string
	err    error
}

// readMembers reads a JSON object: no name twice, valid UTF-8.
func readMembers(data []byte) (members, error) {
	m := members{values: make(map[string]string)}
	err := jose.Object(data, func(name string, value []byte) error {
		m.values[name] = string(value)
		return nil
	})
	return m, err
}

func (m *members) has(name string) bool { _, ok := m.values[name]; return ok }

func (m *members) fail(name, form string) {
	if m.err == nil {
		m.err = fmt.Errorf("the member %s is not %s", name, form)
	}
}

func (m *members) text(name string) string {
	v, err := jose.String(m.values[name])
	if err != nil {
		m.fail(name, "a text")
	}
	return v
}

func (m *members) number(name string) int64 {
	text := m.values[name]
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		m.fail(name, "a whole number")
	}
	return n
}

func (m *members) hash(name string) (h [32]byte) {
	text := m.text(name)
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(h) || text != strings.ToLower(text) {
		m.fail(name, "a hash in hexadecimal")
	}
	copy(h[:], raw)
	return h
}

// HeadOf returns the signed head of a line: of a line of an export, or the line itself if it is a token. It is empty for other lines of
// an export and for empty lines.
func HeadOf(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" || strings.HasPrefix(text, "ey") { // the beginning of every JWS in compact form
		return text, nil
	}
	l, err := readLine(text)
	return l.head, err
}

// RecordOf returns the number of the record of a line of an export, and the record as one JSON object with the values beside it. The
// number is zero for other lines.
func RecordOf(text string) (seq int64, record string, err error) {
	l, err := readLine(text)
	if err != nil || l.record == nil {
		return 0, "", err
	}
	return l.record.Seq, text, nil
}

// IsEnd reports whether a line is the last one of an export.
func IsEnd(text string) bool {
	l, err := readLine(text)
	return err == nil && l.end != nil
}
