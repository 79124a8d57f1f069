package row

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Millis returns the stored form of a time: 0 for the zero time, else whole milliseconds since 1970.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// FromMillis returns the time that [Millis] stored.
func FromMillis(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// An Instant is the place of a time that [Millis] stored.
type Instant time.Time

// A Span is the place of a duration that is stored in whole milliseconds.
type Span time.Duration

// A List is the place of a list that [Text] stored. An empty one is nil.
type List []string

// Text returns the stored form of a list, a JSON array.
func Text(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	data, _ := json.Marshal(list) // strings always marshal
	return string(data)
}

// ParseList returns the list that [Text] stored.
func ParseList(s string) (l List, err error) {
	if s == "[]" {
		return nil, nil
	}
	if len(s) > 4 && strings.HasPrefix(s, `["`) && strings.HasSuffix(s, `"]`) && !strings.Contains(s, `\`) {
		return strings.Split(s[2:len(s)-2], `","`), nil // as json.Marshal writes it where nothing is escaped
	}
	err = json.Unmarshal([]byte(s), (*[]string)(&l))
	return l, err
}

// A Digest is the place of 32 bytes.
type Digest [32]byte

// A Form is the place of a form that [url.Values.Encode] wrote. An empty one is nil.
type Form url.Values

// ParseForm returns the form that [url.Values.Encode] wrote.
func ParseForm(s string) (Form, error) {
	if s == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(s)
	return Form(values), err
}

// SetText stores the text of a column in d, one of the places for texts.
func SetText(d any, text string) (err error) {
	switch d := d.(type) {
	case *string:
		*d = text
	case *storage.RevocationKind:
		*d = storage.RevocationKind(text)
	case *List:
		*d, err = ParseList(text)
	case *Form:
		*d, err = ParseForm(text)
	}
	return err
}

// An Entry is the place of an entry of a status list, which is stored as one number.
type Entry storage.StatusEntry

// EntriesPerList is by how much the numbers of the first entries of two lists differ, per id.
const EntriesPerList = storage.MaxStatusListSize

// EntryNumber returns the stored form of an entry: 0 for none.
func EntryNumber(e storage.StatusEntry) int64 { return e.List*EntriesPerList + int64(e.Index) }

// EntryOf returns the entry that [EntryNumber] stored.
func EntryOf(n int64) Entry { return Entry{List: n / EntriesPerList, Index: int(n % EntriesPerList)} }
