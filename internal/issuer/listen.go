package issuer

import (
	"errors"
	"net"

	"github.com/imidentity/issuer/internal/config"
)

// Listeners are where an issuer answers.
type Listeners struct {
	Public    net.Listener
	Admin     net.Listener // the Unix socket
	Operators net.Listener // operators over the network; nil without admin_listen
	Monitor   net.Listener // nil without metrics_listen
	// Kept says that another process keeps the public listener open, as systemd does for socket activation: connections that come while
	// this process stops wait for the next one.
	Kept bool
}

// A ListenError says that an address cannot be listened on.
type ListenError struct {
	Err     error
	Setting string // names the address
}

func (e *ListenError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the system.
func (e *ListenError) Unwrap() error { return e.Err }

// Listen opens the listeners of the settings, or none of them. It takes those that are given, and does not close them on failure. The
// error is a [*ListenError] for an address of the network.
func Listen(cfg *config.Config, given Listeners) (Listeners, error) {
	opened, err := given.open(cfg)
	if err != nil {
		return Listeners{}, errors.Join(err, opened.Close())
	}
	return Listeners{
		Public: either(given.Public, opened.Public), Admin: either(given.Admin, opened.Admin),
		Operators: either(given.Operators, opened.Operators), Monitor: either(given.Monitor, opened.Monitor), Kept: given.Kept,
	}, nil
}

func either(given, opened net.Listener) net.Listener {
	if given != nil {
		return given
	}
	return opened
}

// open opens the listeners of the settings that l lacks. On failure it returns those that it has opened.
func (l Listeners) open(cfg *config.Config) (opened Listeners, err error) {
	for _, one := range []struct {
		given            net.Listener
		opened           *net.Listener
		address, setting string
	}{
		{l.Public, &opened.Public, cfg.Listen, "listen"},
		{l.Operators, &opened.Operators, cfg.AdminListen, "admin_listen"},
		{l.Monitor, &opened.Monitor, cfg.MetricsListen, "metrics_listen"},
	} {
		if one.given != nil || one.address == "" {
			continue
		}
		listener, err := net.Listen("tcp", one.address)
		if err != nil {
			return opened, &ListenError{err, one.setting}
		}
		*one.opened = listener
	}
	if l.Admin == nil {
		opened.Admin, err = ListenAdmin(cfg.AdminSocket())
	}
	return opened, err
}

// Close closes the listeners.
func (l Listeners) Close() (err error) {
	for _, one := range []net.Listener{l.Public, l.Admin, l.Operators, l.Monitor} {
		if one != nil {
			err = errors.Join(err, one.Close())
		}
	}
	return err
}
