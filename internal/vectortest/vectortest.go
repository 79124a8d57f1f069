// Package vectortest reads the test vectors of other packages from testdata, and with the flag -update writes them from the cases of the
// tests.
package vectortest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors of testdata anew")

// WriteJSON writes v to file with -update, and otherwise compares the two.
func WriteJSON(t testing.TB, file string, v any) {
	t.Helper()
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	WriteFile(t, file, want.Bytes())
}

// WriteFile writes want to file with -update, and otherwise compares the two.
func WriteFile(t testing.TB, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what its case makes", file)
	}
}

// WriteAll writes the vector of each case to testdata/vectors, as [WriteJSON] does, under the name that vectorOf returns. Two cases must
// not have the same name, and each file must have a case.
func WriteAll[C any](t testing.TB, cases []C, vectorOf func(C) (name string, vector any)) {
	t.Helper()
	files := map[string]bool{}
	for _, c := range cases {
		name, vector := vectorOf(c)
		file := "testdata/vectors/" + name + ".json"
		if files[file] {
			t.Errorf("two cases have the name %s", name)
		}
		files[file] = true
		WriteJSON(t, file, vector)
	}
	for _, file := range glob(t, "vectors/*.json", len(files)) {
		if !files[file] {
			t.Errorf("%s has no case", file)
		}
	}
}

// ReadJSON reads file into to. Each member must be known.
func ReadJSON(t testing.TB, file string, to any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// ReadAll reads the files of testdata that match pattern, one vector each, by their names without extension. There must be at least so
// many.
func ReadAll[V any](t testing.TB, pattern string, least int) map[string]*V {
	t.Helper()
	vectors := map[string]*V{}
	for _, file := range glob(t, pattern, least) {
		v := new(V)
		ReadJSON(t, file, v)
		vectors[strings.TrimSuffix(filepath.Base(file), ".json")] = v
	}
	return vectors
}

func glob(t testing.TB, pattern string, least int) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/" + pattern)
	if err != nil || len(files) < least {
		t.Fatalf("%d vectors in testdata/%s, want at least %d: %v", len(files), pattern, least, err)
	}
	return files
}
