package trust

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/imidentity/issuer/claims"
)

// A pin is what is remembered of the document of a domain, so that a change of issuer is noticed.
type pin struct {
	Domain string `json:"domain"`
	// Confirmed is when the domain's document was last read.
	Confirmed time.Time `json:"confirmed"`
	// Established is true after an issuer has named the domain too. Before, the next document replaces the pin.
	Established bool `json:"established"`
	// Changed is true while the domain names only issuers that it did not name beside a pinned one.
	Changed bool `json:"changed,omitempty"`
	// Issuers are those that the domain names, and those that it named before an abrupt change.
	Issuers []pinnedIssuer `json:"issuers"`
}

type pinnedIssuer struct {
	Issuer string `json:"issuer"`
	// Named is true if the last document names the issuer.
	Named bool `json:"named"`
	// Pinned is true if the issuer is believed while it is named.
	Pinned bool `json:"pinned"`
	// Since is since when the issuer is named beside a pinned one, and zero if it is not.
	Since time.Time `json:"since,omitzero"`
}

// read updates the pin by a document, and reports whether the issuers changed. An issuer that is new is pinned after the domain has
// named it beside a pinned one for as long as overlap. If all pinned issuers disappear at once, they stay in the pin, and those that
// came instead are never pinned.
func (p *pin) read(named []string, now time.Time, overlap time.Duration) bool {
	before := slices.Clone(p.Issuers)
	p.Confirmed = now
	if !p.Established {
		p.Issuers = nil
		for _, issuer := range named {
			p.Issuers = append(p.Issuers, pinnedIssuer{Issuer: issuer, Named: true, Pinned: true})
		}
		return !slices.Equal(before, p.Issuers)
	}
	for i := range p.Issuers {
		issuer := &p.Issuers[i]
		if issuer.Named = slices.Contains(named, issuer.Issuer); !issuer.Named {
			issuer.Since = time.Time{}
		}
		if !issuer.Since.IsZero() && now.Sub(issuer.Since) >= overlap {
			issuer.Pinned, issuer.Since = true, time.Time{}
		}
	}
	for _, name := range named {
		if !slices.ContainsFunc(p.Issuers, func(i pinnedIssuer) bool { return i.Issuer == name }) {
			p.Issuers = append(p.Issuers, pinnedIssuer{Issuer: name, Named: true})
		}
	}
	beside := slices.ContainsFunc(p.Issuers, func(i pinnedIssuer) bool { return i.Pinned && i.Named })
	p.Issuers = slices.DeleteFunc(p.Issuers, func(i pinnedIssuer) bool { return !i.Named && (beside || !i.Pinned) })
	for i := range p.Issuers {
		switch issuer := &p.Issuers[i]; {
		case issuer.Pinned:
		case !beside:
			issuer.Since = time.Time{}
		case issuer.Since.IsZero():
			issuer.Since = now
		}
	}
	p.Changed = !beside && len(named) > 0
	return !slices.Equal(before, p.Issuers)
}

// believed returns the issuers that may speak for the domain.
func (p *pin) believed() []string {
	return p.issuers(func(i pinnedIssuer) bool { return i.Named && i.Pinned })
}

// waiting returns the issuers that the domain names but that are not pinned.
func (p *pin) waiting() []string {
	return p.issuers(func(i pinnedIssuer) bool { return i.Named && !i.Pinned })
}

// gone returns the pinned issuers that the domain no longer names.
func (p *pin) gone() []string { return p.issuers(func(i pinnedIssuer) bool { return !i.Named }) }

func (p *pin) issuers(is func(pinnedIssuer) bool) []string {
	var list []string
	for _, i := range p.Issuers {
		if is(i) {
			list = append(list, i.Issuer)
		}
	}
	return list
}

const (
	// maxPinFile bounds the file of pins.
	maxPinFile = 64 << 20
	// confirmEvery is how often the file is written only because domains were confirmed.
	confirmEvery = 10 * time.Minute
)

// A pinFile stores pins. When a table takes over from another one, only the new one writes.
type pinFile struct {
	name string

	mu    sync.Mutex
	owner *discovery
	saved time.Time
}

// save writes the pins if issuers have changed, or if that was long ago.
func (d *discovery) save(changed bool) {
	if d.pins == nil {
		return
	}
	d.pins.mu.Lock()
	defer d.pins.mu.Unlock()
	now := d.Now()
	if d.pins.owner != d || !changed && now.Sub(d.pins.saved) < confirmEvery {
		return
	}
	if err := writePins(d.pins.name, d.established()); err != nil {
		d.Log.Error("the pins of discovered issuers are not stored", slog.Any("error", err))
		return
	}
	d.pins.saved = now
}

// established returns the pins of domains whose issuer was confirmed, sorted.
func (d *discovery) established() []pin {
	list := []pin{}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, e := range d.domains {
		if e.pin.Established {
			p := e.pin
			p.Issuers = slices.Clone(p.Issuers)
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b pin) int { return cmp.Compare(a.Domain, b.Domain) })
	return list
}

// restore takes over the pins of an earlier table, or of the file. The pins of domains that are not discovered now are dropped.
func (d *discovery) restore(previous *Table) error {
	var pins []pin
	if previous != nil && previous.discovery != nil {
		pins = previous.discovery.established()
		d.pins = previous.discovery.pins
	}
	switch {
	case d.PinFile == "":
		d.pins = nil
	case d.pins == nil || d.pins.name != d.PinFile:
		d.pins = &pinFile{name: d.PinFile}
		stored, err := readPins(d.PinFile, d.Development)
		if err != nil {
			return err
		}
		pins = append(stored, pins...)
	}
	most, _ := d.gate.limits()
	for _, p := range pins {
		e := d.domains[p.Domain]
		if e == nil {
			if !d.gate.admits(p.Domain) || len(d.domains) >= most {
				continue
			}
			e = d.add(p.Domain, false, false)
		}
		e.pin = p
	}
	return nil
}

// own makes this table the one that writes the file.
func (d *discovery) own() {
	if d.pins != nil {
		d.pins.mu.Lock()
		defer d.pins.mu.Unlock()
		d.pins.owner = d
	}
}

// readPins reads the file of pins. A file that does not exist holds none. A pin that cannot be valid is an error: without it, any
// issuer would be believed.
func readPins(name string, development bool) ([]pin, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxPinFile {
		err = errors.New("too large")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("trust: pins: %w", err)
	}
	var pins []pin
	if err := json.Unmarshal(data, &pins); err != nil {
		return nil, fmt.Errorf("trust: pins: %s: %w: restore the file, or remove it to pin all issuers anew", name, err)
	}
	for _, p := range pins {
		if err := p.check(development); err != nil {
			return nil, fmt.Errorf("trust: pins: %s: %q: %w: remove this pin", name, p.Domain, err)
		}
	}
	return pins, nil
}

func (p *pin) check(development bool) error {
	domain, err := claims.CheckDomain(p.Domain, development)
	switch {
	case err != nil:
		return err
	case domain != p.Domain:
		return errors.New("not in canonical form")
	case !p.Established:
		return errors.New("not established")
	}
	for _, i := range p.Issuers {
		if _, err := checkIssuer(i.Issuer, development); err != nil {
			return err
		}
	}
	return nil
}

// writePins replaces the file of pins, so that a crash leaves the old one or the new one.
func writePins(name string, pins []pin) error {
	data, err := json.MarshalIndent(pins, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // after a rename there is nothing to remove
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}
