package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/trust"
)

// suspensionsFile is the file in the data folder with the peers that a command has suspended.
const suspensionsFile = "suspended.json"

// suspensions are the domains that a command has suspended. They outlive a restart.
type suspensions struct {
	file    string
	domains []string // in order
}

// readSuspensions reads the file of suspensions. A file that cannot be read is an error: a peer that is suspended must not come back by
// a damaged file.
func readSuspensions(data string) (suspensions, error) {
	s := suspensions{file: filepath.Join(data, suspensionsFile)}
	text, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		s.domains, err = parseSuspensions(text)
	}
	if err != nil {
		return s, fmt.Errorf("read which peers are suspended: %s: %w: correct the file, or remove it to trust all peers of the settings",
			s.file, err)
	}
	return s, nil
}

// parseSuspensions reads the text of the file. Members that have no meaning and names that are no domains are errors: a misspelt one
// would suspend nothing.
func parseSuspensions(text []byte) ([]string, error) {
	var stored struct {
		Suspended []string `json:"suspended"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&stored); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is text after the JSON object")
	}
	if stored.Suspended == nil {
		return nil, errors.New(`the list "suspended" is missing`)
	}
	for n, name := range stored.Suspended {
		domain, err := claims.CheckDomain(name, true)
		if err != nil {
			return nil, fmt.Errorf("suspended[%d]: %w", n, err)
		}
		stored.Suspended[n] = domain
	}
	slices.Sort(stored.Suspended)
	return slices.Compact(stored.Suspended), nil
}

// with returns the suspensions with a domain added or removed.
func (s suspensions) with(domain string, suspended bool) suspensions {
	at, found := slices.BinarySearch(s.domains, domain)
	s.domains = slices.Clone(s.domains)
	switch {
	case suspended && !found:
		s.domains = slices.Insert(s.domains, at, domain)
	case !suspended && found:
		s.domains = slices.Delete(s.domains, at, at+1)
	}
	return s
}

// write writes the file. It is complete after a crash at any moment.
func (s suspensions) write() error {
	text, err := json.Marshal(map[string][]string{"suspended": s.domains})
	if err != nil {
		return err
	}
	next := s.file + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, s.file); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(s.file))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// A stateError is returned by [Instance.Suspend] if the change cannot be stored.
type stateError struct{ err error }

func (e *stateError) Error() string { return e.err.Error() }
func (e *stateError) Unwrap() error { return e.err }

// Suspend suspends the peers of a domain, or lifts such a suspension, and stores that. A suspension takes effect at once, before it is
// stored; it is lifted after that is stored. The errors are those of [trust.Table.Suspend]; any other error is that it cannot be stored.
func (i *Instance) Suspend(domain string, suspended bool) error {
	domain, err := claims.CheckDomain(domain, true)
	if err != nil {
		return err
	}
	i.changing.Lock()
	defer i.changing.Unlock()
	table := i.state.Load().table
	next := i.stops.with(domain, suspended)
	if suspended {
		if err := table.Suspend(domain, true); err != nil {
			return err
		}
		if err := next.write(); err != nil {
			return &stateError{fmt.Errorf("%s is suspended, but only until the gateway stops: %w", domain, err)}
		}
	} else {
		if err := next.write(); err != nil {
			return &stateError{fmt.Errorf("%s is still suspended: %w", domain, err)}
		}
		if err := table.Suspend(domain, false); err != nil && !errors.Is(err, trust.ErrUntrusted) {
			i.stops = next
			return err
		}
	}
	i.stops = next
	i.log.Warn("peer", slog.String("domain", domain), slog.Bool("suspended", suspended))
	return nil
}
