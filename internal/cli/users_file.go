package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/types/api"
)

// maxUsersFile is how many bytes a file of users may have: more than 100,000 URIs.
const maxUsersFile = 16 << 20

// fileHelp is the help of the flags of usersFile.
const fileHelp = `
A file has one user a line: an id, a handle or a URI. Empty lines and those that begin with # are skipped. Each line is reported;
one that fails does not stop the others, and the exit code is 1. Users who are so already stay unchanged, so the command can be
repeated. With --file, JSON is an array of {"line", "text", "domain", "id", "handle", "result", "error"}; the result is disabled,
enabled, removed, unchanged or failed.`

// usersFile holds the flags of a command for many users.
type usersFile struct {
	File   string `placeholder:"FILE" help:"Do it for each user of a file, one a line: an id, a handle or a URI; - for stdin."`
	DryRun bool   `help:"With --file: print what would happen, and change nothing."`
}

// check returns an error if the flags do not fit together.
func (f *usersFile) check(w *target) error {
	switch {
	case f.File == "" && f.DryRun:
		return usage("--dry-run is for --file")
	case f.File != "" && (w.Who != "" || w.User != ""):
		return usage("name one user, or a file of users with --file, not both")
	}
	return nil
}

// A fileLine is the outcome of one line of a file of users.
type fileLine struct {
	Line   int    `json:"line"`
	Text   string `json:"text"`
	Domain string `json:"domain,omitempty"`
	ID     string `json:"id,omitempty"`
	Handle string `json:"handle,omitempty"`
	// Result is "disabled", "enabled", "removed", "unchanged" or "failed"; in a dry run, what would be.
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`
}

// verbRemoved is the verb of a change after which a user is not found any more.
const verbRemoved = "removed"

// A userChange is what happens to each user of a file.
type userChange struct {
	verb   string // "disabled", "enabled" or "removed"
	needed func(api.User) bool
	apply  func(ctx context.Context, socket client.Admin, domain, id string) error
}

// run changes the users of the file one after the other, each by a request and a transaction of its own, and reports each line. A line
// that fails does not stop the others; the error says that some did. An outage stops it: then the command can be repeated, since users
// who are so already stay unchanged.
func (f *usersFile) run(ctx context.Context, s *streams, o *operator, domain string, change userChange) error {
	text, err := f.read(s)
	if err != nil {
		return err
	}
	socket, err := o.socket(s)
	if err != nil {
		return err
	}
	done := []fileLine{}
	changed, failed := 0, 0
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	if !o.JSON {
		fmt.Fprintln(w, "LINE\tUSER\tHANDLE\tDOMAIN\tRESULT")
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		name := strings.TrimSpace(string(line))
		if name == "" || name[0] == '#' {
			continue
		}
		l := fileLine{Line: number, Text: name}
		if err = f.change(ctx, socket, domain, &l, change); err != nil {
			defer fmt.Fprintf(s.err, "Stopped at line %d. Repeat the command: users who are %s already stay unchanged.\n",
				number, change.verb)
			break
		}
		switch l.Result {
		case "failed":
			failed++
		case change.verb:
			changed++
		}
		if o.JSON {
			done = append(done, l)
			continue
		}
		if l.Error != "" {
			fmt.Fprintf(w, "%d\t%s\t-\t-\tfailed: %s\n", l.Line, printable(l.Text), printable(l.Error))
		} else {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", l.Line, l.ID, l.Handle, l.Domain, l.Result)
		}
	}
	if o.JSON {
		if failed := printJSON(s, done); failed != nil {
			return failed
		}
	} else {
		if failed := w.Flush(); failed != nil {
			return failed
		}
		if f.DryRun {
			fmt.Fprintf(s.out, "Nothing was changed: without --dry-run, %s would be %s.\n", count(changed, "user"), change.verb)
		} else {
			fmt.Fprintf(s.out, "%s %s.\n", count(changed, "user"), change.verb)
		}
	}
	if err != nil {
		return err
	}
	if failed > 0 {
		return refused("%s failed", count(failed, "line"))
	}
	return nil
}

// change changes the user of a line and writes the outcome into l. The error is an outage.
func (f *usersFile) change(ctx context.Context, socket client.Admin, domain string, l *fileLine, change userChange) error {
	domain, user, err := f.find(domain, l.Text)
	if err != nil {
		l.Result, l.Error = "failed", err.Error()
		return nil
	}
	p, err := socket.Person(ctx, domain, user)
	if err == nil {
		l.Domain, l.ID, l.Handle, l.Result = p.Domain, p.ID, p.Handle, "unchanged"
		if !change.needed(p.User) {
			return nil
		}
		l.Result = change.verb
		if f.DryRun {
			return nil
		}
		err = change.apply(ctx, socket, p.Domain, p.ID)
	}
	e := (*client.Error)(nil)
	switch {
	case errors.As(err, &e) && e.Status == http.StatusGone && change.verb == verbRemoved:
		l.Domain, l.ID, l.Handle, l.Result = domain, "-", "-", "unchanged"
		return nil
	case errors.As(err, &e) && e.Status < http.StatusInternalServerError:
		l.Result, l.Error = "failed", e.Description
		return nil
	}
	return explain(socket, err)
}

// find reads the name of a user in a line.
func (*usersFile) find(domain, text string) (in, user string, err error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || r == ' ' || !unicode.IsPrint(r) }) {
		return "", "", errors.New("a line is one user id, handle or URI")
	}
	w := target{Who: text, Domain: domain}
	return w.find()
}

// read reads the file. It refuses one that is too large.
func (f *usersFile) read(s *streams) ([]byte, error) {
	in := s.in
	if f.File != "-" {
		file, err := os.Open(f.File)
		if err != nil {
			return nil, usage("--file: %v", err)
		}
		defer func() { _ = file.Close() }() // only read
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxUsersFile+1))
	if err != nil {
		return nil, usage("--file: %v", err)
	}
	if len(text) > maxUsersFile {
		return nil, usage("--file: %s has more than %d MiB: split it", f.File, maxUsersFile>>20)
	}
	return text, nil
}
