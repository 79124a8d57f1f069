package cli

import (
	"fmt"
	"net"
	"strings"
)

// notify sends systemd the state of a service of Type=notify (sd_notify(3)): READY=1, RELOADING=1 or STOPPING=1. Without
// NOTIFY_SOCKET it does nothing.
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
	defer func() { _ = conn.Close() }() // the message was received
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
