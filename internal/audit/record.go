package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"time"

	"github.com/imidentity/issuer/storage"
)

// version is that of the form of a record.
const version = 1

// saltSize is how many bytes the salt of a private part has.
const saltSize = 32

// timeForm is the form of times: UTC, in milliseconds.
const timeForm = "2006-01-02T15:04:05.000Z"

// seal returns the record of an event, as the next one after head.
func seal(e Event, request string, c *Chain, head storage.AuditHead) (storage.AuditRecord, error) {
	at := c.Now().UTC().Truncate(time.Millisecond)
	row := storage.AuditRecord{Node: c.Node, Seq: head.Seq + 1, At: at, Domain: printable(e.Domain), User: printable(e.User)}
	var commitment string
	if values := e.appendPrivate(nil); len(values) > len("{}") {
		row.Private = make([]byte, saltSize, saltSize+len(values))
		if _, err := io.ReadFull(c.Rand, row.Private); err != nil {
			return storage.AuditRecord{}, err
		}
		commitment = commit(row.Private, values)
		row.Private = append(row.Private, values...)
	}
	b := object{append(make([]byte, 0, 512), '{')}
	b.text("actor", string(e.Actor))
	b.text("client", e.Client)
	b.text("credential", e.Credential)
	b.text("device", e.Device)
	b.text("domain", e.Domain)
	b.text("event", e.Kind.String())
	b.text("former_user", e.FormerUser)
	b.text("id", request)
	b.text("key", e.Key)
	b.text("node", c.Node)
	b.text("peer", e.Peer)
	b.text("prev", hex.EncodeToString(head.Hash[:]))
	b.text("private", commitment)
	b.number("seq", row.Seq)
	b.text("session", e.Session)
	b.text("statement", e.Statement)
	b.text("time", at.Format(timeForm))
	b.text("user", e.User)
	b.number("v", version)
	b.data = append(b.data, '}')
	row.Record = string(b.data)
	row.Hash = sha256.Sum256(b.data)
	return row, nil
}

// appendPrivate appends what the event says about a person beyond ids, as a JSON object. It is not part of the record, which contains a
// commitment to it: so it can be erased, and the chain stays valid.
func (e *Event) appendPrivate(data []byte) []byte {
	b := object{append(data, '{')}
	if e.Address.IsValid() {
		b.text("address", e.Address.String())
	}
	b.text("handle", e.Handle)
	b.text("reason", e.Reason)
	return append(b.data, '}')
}

// commit returns the commitment to values: an HMAC under a random salt, so that without the salt nothing can be told of the values,
// however few are possible.
func commit(salt, values []byte) string {
	mac := hmac.New(sha256.New, salt)
	mac.Write(values)
	return hex.EncodeToString(mac.Sum(nil))
}

// An object is a JSON object that is being written in the canonical form of RFC 8785. Its members are added in the order of their names.
type object struct{ data []byte }

func (o *object) name(name string) {
	if o.data[len(o.data)-1] != '{' {
		o.data = append(o.data, ',')
	}
	o.data = append(o.data, '"')
	o.data = append(o.data, name...)
	o.data = append(o.data, `":`...)
}

// text adds a member, unless value is empty. It keeps only what [printable] does, so that the text needs no other escapes than these.
func (o *object) text(name, value string) {
	if value == "" {
		return
	}
	o.name(name)
	o.data = append(o.data, '"')
	for _, c := range []byte(printable(value)) {
		if c == '"' || c == '\\' {
			o.data = append(o.data, '\\')
		}
		o.data = append(o.data, c)
	}
	o.data = append(o.data, '"')
}

func (o *object) number(name string, value int64) {
	o.name(name)
	o.data = strconv.AppendInt(o.data, value, 10)
}
