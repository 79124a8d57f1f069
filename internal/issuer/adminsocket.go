package issuer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// ListenAdmin opens the admin socket at path, with mode 0600. It replaces a socket that a dead process left behind. A
// socket that answers is an error.
func ListenAdmin(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("the admin socket %s is in use: is another issuer running on this data folder?", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old admin socket: %w", err)
	}
	// The socket has its mode from the start, so that nobody else can connect at any moment. Files that this process
	// creates meanwhile get a stricter mode than needed, which does no harm.
	mask := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(mask)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("the path of the admin socket %s is longer than the system allows: set admin to a shorter one", path)
	} else if err != nil {
		return nil, fmt.Errorf("make the admin socket: %w", err)
	}
	return l, nil
}
