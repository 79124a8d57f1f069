package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReviewD7ConfigCheckJSON holds that a program can read what config check finds, and its exit code.
func TestReviewD7ConfigCheckJSON(t *testing.T) {
	type fault struct {
		File, Path, Message string
		Line                int
	}
	for text, want := range map[string]struct {
		code    int
		faults  []string
		domains int
	}{
		"issuer: https://id.acme.im\nkek_file: kek\ndomains: [{name: acme.im, providers: [{id: p, issuer: \"https://login.acme.im\", client_id: x, authoritative_handles: true}]}]\n": {0, nil, 1},
		"isuer: https://id.acme.im\nlisten: nowhere\n": {2, []string{"isuer", "issuer", "domains", "listen"}, 0},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "issuer.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("issuer", "config", "check", "--json", file)
		out, _ := cmd.Output() // its exit code is compared below
		var got struct {
			Valid   bool
			Domains int
			Faults  []fault
			Before  []fault `json:"before_first_start"`
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("config check --json = %s, %v", out, err)
		}
		if cmd.ProcessState.ExitCode() != want.code || got.Valid != (want.code == 0) || got.Domains != want.domains {
			t.Errorf("config check --json = %d, %s, want exit code %d and %d domains", cmd.ProcessState.ExitCode(), out, want.code, want.domains)
		}
		for _, path := range want.faults {
			if !slices.ContainsFunc(got.Faults, func(f fault) bool { return f.Path == path && f.File == file && f.Line > 0 && f.Message != "" }) {
				t.Errorf("config check --json = %s, want a fault of %s with its place", out, path)
			}
		}
		if want.code == 0 && (len(got.Faults) > 0 || len(got.Before) != 1 || got.Before[0].Path != "kek_file") {
			t.Errorf("config check --json = %s, want the key-encryption key before the first start, and no fault", out)
		}
	}
}

// TestReviewD7Options holds that the page for app authors says what the options of its examples are.
func TestReviewD7Options(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "`options` is `{ algorithm: 'oauth2' }`") {
		t.Error("docs/clients.md does not say what options is")
	}
}
