package postgrestest

import (
	"fmt"
	"strings"
)

// Query runs SQL in a database by psql, and returns the rows of its answer: the columns of a row are separated by a bar. The error has
// the message of the server.
func (s *Server) Query(database, sql string) ([]string, error) {
	out, err := s.command("psql", "-h", s.dir, "-U", "issuer", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, database).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("psql: %v\n%s", err, out)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' }), nil
}
