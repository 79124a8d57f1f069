package feed

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// The bounds of what an issuer may send.
const (
	maxPage   = 1 << 20 // bytes
	maxLine   = 64 << 10
	maxEvents = 10_000 // of a page
)

// errPage is returned by [ParsePage] for a page that lacks a member.
var errPage = errors.New("feed: a page needs events, cursor and hash_key")

// ParsePage reads an answer of the feed. It refuses repeated members and pages of more than 1 MiB; members that it does not know
// are ignored.
func ParsePage(text []byte) (Page, error) {
	var (
		p             Page
		events, keyed bool
	)
	if len(text) > maxPage {
		return p, errors.New("feed: the page is too large")
	}
	err := jose.Object(text, func(name string, value []byte) (err error) {
		switch name {
		case "events":
			var list []json.RawMessage
			if err := json.Unmarshal(value, &list); err != nil || list == nil || len(list) > maxEvents {
				return fmt.Errorf("events: not an array, or of more than %d", maxEvents)
			}
			events, p.Events = true, make([]Event, len(list))
			for i, raw := range list {
				if p.Events[i], err = ParseEvent(raw); err != nil {
					return err
				}
			}
			return nil
		case "cursor":
			return json.Unmarshal(value, &p.Cursor)
		case "more":
			return json.Unmarshal(value, &p.More)
		case "hash_key":
			keyed = true
			return readKey(value, &p.Key)
		case "domains":
			return json.Unmarshal(value, &p.Domains)
		}
		return nil
	})
	if err == nil && (!events || !keyed || !isCursor(p.Cursor)) {
		err = errPage
	}
	if err != nil {
		return Page{}, fmt.Errorf("feed: page: %w", err)
	}
	return p, nil
}

// ParseEvent reads one event.
func ParseEvent(text []byte) (Event, error) {
	var e Event
	err := jose.Object(text, func(name string, value []byte) error {
		switch name {
		case "kind":
			return json.Unmarshal(value, &e.Kind)
		case "hash":
			return json.Unmarshal(value, &e.Hash)
		case "gen":
			return json.Unmarshal(value, &e.Gen)
		case "exp":
			return json.Unmarshal(value, &e.Expires)
		}
		return nil
	})
	if err == nil && (e.Kind == "" || e.Hash == "" || e.Gen < 0 || e.Kind == Generation && e.Gen == 0) {
		err = errors.New("it needs a kind and a hash, and of kind gen a generation")
	}
	if err != nil {
		return Event{}, fmt.Errorf("feed: event: %w", err)
	}
	return e, nil
}

// parseStart reads the data of the first event of a stream.
func parseStart(text string) (Start, error) {
	var (
		s     Start
		keyed bool
	)
	err := jose.Object([]byte(text), func(name string, value []byte) error {
		switch name {
		case "hash_key":
			keyed = true
			return readKey(value, &s.Key)
		case "domains":
			return json.Unmarshal(value, &s.Domains)
		}
		return nil
	})
	if err == nil && !keyed {
		err = errors.New("it lacks hash_key")
	}
	if err != nil {
		return Start{}, fmt.Errorf("feed: start: %w", err)
	}
	return s, nil
}

// readKey reads a key. A null is none.
func readKey(value []byte, k *Key) error {
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return err
	}
	return k.UnmarshalText([]byte(text))
}

// isCursor reports whether a text can be a cursor, and so a header.
func isCursor(text string) bool {
	return text != "" && len(text) <= 1024 && strings.Trim(text, cursorCharacters) == ""
}

const cursorCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// A block is one message of a stream of Server-Sent Events (HTML, section 9.2.6).
type block struct {
	event, id, data string
	// alive tells that it has no data: it is a sign of life, perhaps with a new id.
	alive bool
}

// errLine is returned for a line of a stream that is too long.
var errLine = errors.New("feed: a line of the stream is too long")

// A blockReader reads the messages of a stream.
type blockReader struct{ lines *bufio.Reader }

func newBlockReader(r io.Reader) *blockReader {
	return &blockReader{lines: bufio.NewReaderSize(r, maxLine)}
}

// next returns the next message. An error means that the stream is over: a message without the empty line at its end is none.
func (r *blockReader) next() (block, error) {
	b := block{alive: true}
	size := 0
	for {
		raw, err := r.lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return block{}, errLine
		} else if err != nil {
			return block{}, err
		}
		if size += len(raw); size > maxLine {
			return block{}, errLine
		}
		line := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
		if line == "" {
			return b, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			b.event = value
		case "id":
			b.id = value
		case "data":
			if !b.alive {
				b.data += "\n"
			}
			b.alive, b.data = false, b.data+value
		}
	}
}
