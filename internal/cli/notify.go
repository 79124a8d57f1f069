package cli

import (
	"fmt"
	"net"
	"strings"
)

// notify tells systemd the state of a service of Type=notify (sd_notify(3)): READY=1, RELOADING=1 or STOPPING=1. Started by
// anything else, there is no NOTIFY_SOCKET and notify does nothing.
func notify(s *streams, state string) error {
	address := s.getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	if abstract, ok := strings.CutPrefix(address, "@"); ok {
		address = "\x00" + abstract
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer func() { _ = conn.Close() }() // what was written has been received
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
