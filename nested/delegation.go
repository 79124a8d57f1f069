package nested

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// Limits are the limits of a delegation on what the user's key may sign. They apply to everything under the delegation, including
// statements by keys to which that key delegated.
type Limits struct {
	// Devices is the device part of device URIs: the exact text, or a prefix followed by "*".
	Devices string
	// Count is how many devices there may be: each device statement has a number from 1 to Count. The issuer that countersigns
	// the devices checks that no two have the same number.
	Count int
	// Lifetime is the longest time from iat to exp, in whole seconds.
	Lifetime time.Duration
	// Depth is how many statements may follow from one another: 1 for statements of this key, 2 also for those of a key that this
	// key delegated to.
	Depth int
	// Statements are the types that may be signed in addition to im-device+jwt: im-actor+jwt, im-link+jwt.
	Statements []string
}

// wireLimits is the JSON form of limits.
type wireLimits struct {
	Devices    string   `json:"devices"`
	Count      int      `json:"count"`
	Lifetime   int64    `json:"lifetime"`
	Depth      int      `json:"depth"`
	Statements []string `json:"statements,omitempty"`
}

// MarshalJSON writes the limits.
func (l Limits) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireLimits{l.Devices, l.Count, int64(l.Lifetime / time.Second), l.Depth, l.Statements})
}

func parseLimits(raw []byte) (*Limits, error) {
	l := new(Limits)
	return l, jose.Object(raw, func(name string, value []byte) (err error) {
		switch name {
		case "devices":
			l.Devices, err = jose.String(value)
		case "count":
			l.Count, err = count(value)
		case "lifetime":
			var seconds int
			seconds, err = count(value)
			l.Lifetime = time.Duration(seconds) * time.Second
		case "depth":
			l.Depth, err = count(value)
		case "statements":
			l.Statements, err = jose.Strings(value)
		default:
			// A limit that is not understood cannot be enforced.
			return errors.New("unknown limit")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

func (l *Limits) validate() error {
	star := strings.IndexByte(l.Devices, '*')
	switch {
	case l.Devices == "" || star >= 0 && star != len(l.Devices)-1:
		return errors.New("devices: not a device part, or a prefix of one followed by *")
	case l.Count < 1 || l.Lifetime < time.Second || l.Depth < 1:
		return fmt.Errorf("count, lifetime or depth: %w", claims.ErrMissing)
	}
	for _, typ := range l.Statements {
		if typ != TypeActor && typ != TypeLink {
			return errors.New("statements: a type that a user's key cannot sign")
		}
	}
	return nil
}

// allow returns an error unless the limits of the delegation d allow s, which is the statement number steps after d.
func (l *Limits) allow(s, d *Statement, steps int) error {
	switch {
	case steps > l.Depth:
		return errors.New("more levels than its depth allows")
	case s.Expires.Sub(s.IssuedAt) > l.Lifetime:
		return errors.New("valid for longer than its lifetime allows")
	case s.IssuedAt.Before(d.IssuedAt) || s.IssuedAt.Before(d.NotBefore):
		return errors.New("issued before the delegation")
	}
	switch s.Type {
	case TypeDelegation: // depth is its limit
	case TypeDevice:
		device, err := claims.Parser{AllowSingleLabel: true}.Parse(s.Device)
		if err != nil {
			return err
		}
		prefix, open := strings.CutSuffix(l.Devices, "*")
		if !strings.HasPrefix(device.Device(), prefix) || !open && device.Device() != prefix {
			return errors.New("the device does not match its pattern")
		}
		if s.Number > l.Count {
			return errors.New("the number of the device is above its count")
		}
	default:
		if !slices.Contains(l.Statements, s.Type) {
			return fmt.Errorf("%s is not among its statements", s.Type)
		}
	}
	return nil
}
