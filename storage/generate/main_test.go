package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestUpToDate fails if the contract was changed and the methods were not generated again.
func TestUpToDate(t *testing.T) {
	want, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", generatedFile))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s does not fit the contract: run go generate ./storage", generatedFile)
	}
}

// TestRefusesContract fails if a contract that cannot be intercepted is accepted.
func TestRefusesContract(t *testing.T) {
	for name, source := range map[string]string{
		"not Go":                  "package",
		"no store":                "package storage\ntype Tx interface{ A(x int) error }",
		"no transaction":          "package storage\ntype Store interface{ A(x int) error }",
		"a method without errors": "package storage\ntype Store interface{ A(x int) bool }\ntype Tx interface{ B() error }",
		"an unknown interface":    "package storage\ntype Store interface{ Other }\ntype Tx interface{ B() error }",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "storage.go"), []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := generate(dir); err == nil {
				t.Errorf("generate = %s, want an error", out)
			}
		})
	}
}
