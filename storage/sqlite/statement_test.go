package sqlite

import (
	"path/filepath"
	"testing"
)

// TestTextsArePrepared prepares every SQL text, which the store does only when it first uses one.
func TestTextsArePrepared(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "issuer.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range texts {
		if _, err := s.stmts.get(t.Context(), n); err != nil {
			t.Error(err)
		}
	}
}
