package secretfile

import (
	"errors"
	"syscall"
)

// readACL returns the access control list of a file, nil if it has none.
func readACL(path string) ([]byte, error) {
	list := make([]byte, 4096)
	n, err := syscall.Getxattr(path, "system.posix_acl_access", list)
	if errors.Is(err, syscall.ENODATA) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return list[:n], nil
}
