package cli

import (
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
)

// activated returns the sockets that the service manager has opened for this process (sd_listen_fds(3)). A single one is the public
// listener, whatever its name is. Several are told apart by their names, FileDescriptorName= of their units: public, admin, operators
// and metrics.
func activated(cfg *config.Config) (l issuer.Listeners, err error) {
	files := activation.Files(true)
	defer func() {
		for _, f := range files {
			_ = f.Close() // its listener has a copy
		}
		if err != nil {
			_ = l.Close()
		}
	}()
	places := map[string]*net.Listener{"public": &l.Public, "admin": &l.Admin}
	if cfg.AdminListen != "" {
		places["operators"] = &l.Operators
	}
	if cfg.MetricsListen != "" {
		places["metrics"] = &l.Monitor
	}
	for _, f := range files {
		name := f.Name()
		if len(files) == 1 {
			name = "public"
		}
		place, known := places[name]
		if !known {
			return l, fmt.Errorf("the service manager passes a socket named %q: name it public or admin with FileDescriptorName= in its "+
				"unit, or, if the settings have admin_listen or metrics_listen, operators or metrics", name)
		} else if *place != nil {
			return l, fmt.Errorf("the service manager passes two sockets named %q: only one of each name can be served", name)
		}
		if *place, err = listenerOf(f); err != nil {
			return l, fmt.Errorf("the socket %q of the service manager does not listen for connections (ListenStream=): %w", name, err)
		}
	}
	l.Kept = l.Public != nil
	return l, nil
}

// listenerOf returns the listener of a socket; a nil interface with any error.
func listenerOf(f *os.File) (net.Listener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return l, nil
}
