package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
)

// root is where the documents and the sources are.
const root = "../.."

var fenced = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// blocks returns the code blocks of a document that are in a language.
func blocks(t *testing.T, document, language string) []string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
		if m[1] == language {
			list = append(list, m[2])
		}
	}
	return list
}

// promised is what the blocks of a document print, in this order.
var promised = map[string][]string{
	"README.md": {
		`"issuer":"http://127.0.0.1:8080"`,
		`"token_type":"DPoP"`,
		`"refresh_token":"`,
		`"active": true`,
		`"handle": "im:%40alice@example.com"`,
		`"username": "@alice@example.com"`,
		"Removed device ",
		"{\n  \"active\": false\n}\n",
		"inactive: exit code 1\n",
	},
	"keys.md": {
		" signing ", " is published, and signs from ", " published ", `"keys":[`, "signs.\n", " retired ", " signing ",
		"Revoked key ", " revoked ", "(found on a shared disk)\n", " signing ", "audit: signing key revoked",
	},
	"audit.md": {
		"Revoked key ", "main: records 1 to ", `"event":"key.rotated"`, "Wrote walk/audit.jsonl.\n", "main: records 1 to ", `{"node":"main","seq":`,
	},
	"clients.md": {
		`"registration_access_token":"`, `"client_name":"Example Messenger"`,
		`{"device_code":"`, `"interval":5}`, `"error":"authorization_pending"`, `"error":"slow_down"`,
		`"display":"@alice@example.com"`, `"device_name":"Television"`, `"token_type":"DPoP"`, `"name":"Television"`,
		`"type":"device_removed"`, `"client_name":"IM App"`,
		`"token_type":"DPoP"`, `"token_type":"DPoP"`, `"error":"invalid_client"`, "used before", "use_dpop_nonce",
		`"token_type":"DPoP"`, `"active": true`, `"client_id": "gateway"`,
		`"token_type":"DPoP"`, "used before",
	},
	"introspection.md": {
		`{"active":true,"iss":"http://127.0.0.1:8080","sub":"rooms"`, `"token_type":"DPoP"`,
		`{"answers":[{"active":true,`, `},{"active":false}]}`,
		"eyJ", "application/token-introspection+jwt", "eyJ", "application/im-staple+jwt",
	},
	"feed.md": {
		`{"active":true,`, `{"events":[],"cursor":"`, `"domains":["example.com"]}`, "Removed device ", `{"events":[{"kind":"device","hash":"`,
		`"kind":"device","hash":"`, "event: start\n", `data: {"kind":"device",`, "event: end\n", `data: {"reason":"shutdown"}`,
	},
	"nested-clients.md": {
		`"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"`, `"act":{"sub":"bot"`,
		`"rel":"acts_for"`, `"typ":"im-actor+jwt"`, `"revocation":"checked"`,
		`"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"`, `"error":"unauthorized_client"`,
		`{"active":false}`, `{"active":false,"reason":"revoked","path":"tokens[0]"}`,
	},
	"sasl.md": {
		"Signed in as ", `"result":"challenge"`, `"id":"2","result":"yes","account":"alice@example.com"`,
		`"id":"3","result":"no"`, "use_dpop_nonce", `"id":"4","result":"no"`, "invalid-authzid", `"id":"5","result":"no"`, "invalid_dpop_proof",
		`"id":"6","result":"unknown","condition":"temporary-auth-failure"`,
	},
	"credentials.md": {
		"walk/mls.txt is a credential of im:", "anyone could have written it", "  handle ", `"credential_issuer":"http://127.0.0.1:8080"`,
		"openid-credential-offer://?credential_offer=", "The credential is valid.\n", "not shown\n", "The credential is valid.\n",
		"im:%40alice@example.com, which is @alice@example.com\n", "another nonce: exit code 1\n",
		"is now called alex", "The credential is valid.\n", "out of date", "the handle is out of date.\n", "exit code 1\n",
		" handle_ended ", "Credential ", " ended at ",
		"Removed device ", "the credential has ended.", "exit code 1\n",
	},
	"chaining.md": {
		`"token_type":"N_A"`, `"issued_token_type":"urn:ietf:params:oauth:token-type:jwt"`, `"iss":"http://127.0.0.1:8090"`,
		`"handle":"im:%40alice@example.com"`, `"home_iss":"http://127.0.0.1:8080"`, `"token_type":"DPoP"`,
		`"error":"invalid_grant"`, "used before",
	},
	"certificates.md": {
		"Root CA     ca/root.pem, until ", "im: URIs have no authority", "is          CA\n", "is          im-device-x5c\n", "phone.pem: OK\n",
		"The chain is valid.\n", "handle      im:%40alice@example.net\n", "exit code 1\n", "The chain is valid.\n", "below.pem: OK\n",
		"mls-chain.pem is a credential of im:", "alice-chain.pem is a credential of im:", "The chain is valid.\n", "im:%40alice@example.com\n",
		"status      not revoked\n", "mls-chain.pem: OK\n", "The chain is valid.\n", "status      not revoked\n", "Removed device ",
		"Serial Number: ", "Cessation Of Operation", "certificate revoked", "exit code 1\n", "exit code 1\n",
	},
	"wire.md": {
		"(ES256):\n\n-----BEGIN PUBLIC KEY-----", "In ca.json, as dpop.key:", "Public-Key: (256 bit)", "http://127.0.0.1:8080/wire/access-token\n", "204 No Content", "Replay-Nonce: ",
	},
	"status-list.md": {
		`"status":{"status_list":{"idx":`, "Content-Type: application/statuslist+jwt", "304\n", "valid\n", "Removed device ",
		"not valid: statuslist: the status of the token is INVALID", "exit code 1\n",
	},
	"people.md": {
		"  alice  ", `"subject"`, "Kitchen tablet", "is now called alex", "is now called alice", "1 user would be disabled", "1 user disabled", "exit code 1\n", "1 user enabled",
		"is erased", "exit code 1\n", "not in the files", "are whole",
	},
	"trust.md": {
		"Master key ", "The device list has 1 device.", " is pinned (by hand on ", "verified: ", "device ",
		"quarantined: ", " is good by http://127.0.0.1:8080 until ", " but device list 1 of ", "which you compared on ", " does not have its key\n",
		"quarantined by rule F3; hierarchy good (looked up now), xsign bad (device_not_listed), places none\n", "exit code 1\n",
		"accepted: ", "accepted by rule 4 of the policy; hierarchy none, xsign good",
		"Removed device ", "refused: ", "was ended by its own issuer", "refused by rule F1; hierarchy bad (ended), xsign good", "exit code 1\n",
		"undecided: ", "by rule F7; hierarchy good (looked up now), xsign unknown (missing)", "exit code 3\n",
	},
	"places.md": {
		"Master key ", "put this text there, as application/json:", `["aspe:id.example.net:`, "into the profile of the account", "The profile has 2 places.",
		"keys 1, device list 1", "Published with 2 places.",
		"none (too_young): master key ", "exit code 1\n", "good: master key ", "named by alice.example and social.example", "agrees", "agrees",
		"accepted: ", "verified by rule 2 of the policy; hierarchy good (looked up now), xsign none, places good (looked up now)",
		"has the statements of 1 user", " is pinned (by hand on ", "good: master key ",
		"quarantined: ", "quarantined by rule F5; hierarchy good (looked up now), xsign none, places bad (other_master)", "exit code 1\n",
	},
	"cwt.md": {
		`"access_token":"0oRY..."`, `"issued_token_type":"tag:imidentity.github.io,2026:cwt"`, `/ typ / 16: "application/at+cwt"`, `"active":true`,
		`{"active":false}`, "The subject_token is not valid",
		"Nothing of this is checked", "/ kcwt / 13: 18([", `/ aud / 3: "mimi://example.org/r/clubhouse"`, "The credential is valid.", "im:%40alice@example.com",
	},
	"scim.md": {
		`"userName":"alice@example.com"`, `"totalResults":1`, `"active":false`, "disabled",
	},
	"dpop.md": {
		"use_dpop_nonce", `"token_type":"DPoP"`, "use_dpop_nonce", "Hello im:%40alice@example.com", "invalid_dpop_proof",
		"invalid_token", `"dpop_bound_access_tokens_required":true`,
	},
}

// TestDocuments runs what the documents say to run: the sh blocks of each, in their order, in one shell, in a folder
// with the sources. They listen on fixed ports, so they run one after another.
func TestDocuments(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	documents, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatalf("Glob = %v, %v, want documents", documents, err)
	}
	for _, document := range append(documents, root+"/README.md") {
		name, script := filepath.Base(document), strings.Join(blocks(t, document, "sh"), "\n")
		// The first day wants names, a certificate and a provider of its own, and a deployment several machines: see internal/interop.
		if name == "operate.md" || name == "deploy.md" || script == "" && promised[name] == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			usualAddresses.Lock()
			defer usualAddresses.Unlock()
			out, at := paste(t, sources(t, bin), script), 0
			for _, want := range promised[name] {
				i := strings.Index(out[at:], want)
				if i < 0 {
					t.Fatalf("no %q after\n%s\nin\n%s", want, out[:at], out[at:])
				}
				at += i + len(want)
			}
		})
	}
}

// paste runs a script as somebody does who pastes it, but that it ends at the first command that fails, and returns
// what it prints.
func paste(t *testing.T, folder, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // of what hangs
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", script)
	cmd.Dir = folder
	// The flags of make build: what is built does not depend on the folder, so that the documents share one build.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -trimpath '-ldflags=-s -w'")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it leaves running
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output() // ends when nobody holds the output any more: a server that was told to stop has
	if err != nil {
		_ = cmd.Cancel()
		t.Fatalf("%v\n%s\n%s", err, out, complaints.String())
	}
	return string(out)
}

// sources returns a folder in which the sources are and everybody may make files. Its bin is the given folder: a program that is
// there and up to date is not linked again.
func sources(t *testing.T, bin string) string {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(folder, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		switch entry.Name() {
		case ".git", "bin", "data", "walk": // a build has nothing to stamp; the others are what may be made
			continue
		}
		from, err := filepath.Abs(filepath.Join(root, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(folder, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// TestSettingsExamples reads the settings that the documents show, with names that are not reserved for examples, and
// with the files that they name.
func TestSettingsExamples(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string]string{"kek": strings.Repeat("0", 64), "corp-secret": "s3cret"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	examples := blocks(t, root+"/README.md", "yaml")
	if len(examples) == 0 {
		t.Fatal("the README shows no settings")
	}
	whole := examples[0][:strings.Index(examples[0], "clients:")]
	for _, clients := range blocks(t, root+"/docs/clients.md", "yaml") {
		examples = append(examples, whole+clients)
	}
	for _, example := range examples {
		real := strings.NewReplacer("example.net", "acme.im", "/etc/issuer", folder).Replace(example)
		if _, err := config.Parse("README.md", []byte(real), nil); err != nil {
			t.Errorf("Parse = %v, want no error\n%s", err, example)
		}
	}
}
