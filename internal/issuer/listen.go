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
}

// A ListenError says that an address cannot be listened on.
type ListenError struct {
	Err     error
	Setting string // names the address
}

func (e *ListenError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the system.
func (e *ListenError) Unwrap() error { return e.Err }

// Listen opens the listeners of the settings, or none of them. If public is not nil, it is the public one, and is not closed on failure.
// The error is a [*ListenError] for an address of the network.
func Listen(cfg *config.Config, public net.Listener) (Listeners, error) {
	l := Listeners{Public: public}
	err := l.open(cfg)
	if err == nil {
		return l, nil
	}
	if l.Public == public {
		l.Public = nil
	}
	return Listeners{}, errors.Join(err, l.Close())
}

func (l *Listeners) open(cfg *config.Config) (err error) {
	listen := func(address, setting string) net.Listener {
		if err != nil || address == "" {
			return nil
		}
		one, failed := net.Listen("tcp", address)
		if failed != nil {
			err = &ListenError{failed, setting}
			return nil // not a nil *net.TCPListener
		}
		return one
	}
	if l.Public == nil {
		l.Public = listen(cfg.Listen, "listen")
	}
	l.Operators, l.Monitor = listen(cfg.AdminListen, "admin_listen"), listen(cfg.MetricsListen, "metrics_listen")
	if err == nil {
		l.Admin, err = ListenAdmin(cfg.AdminSocket())
	}
	return err
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
