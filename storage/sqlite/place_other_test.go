//go:build !linux

package sqlite

var identifiers = map[string]func(string) (fileID, error){"stat": identify}
