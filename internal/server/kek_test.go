package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/imidentity/issuer/types/api"
)

// rotatingKEK is the flow of an operator who rotates the key-encryption key.
func rotatingKEK(t *testing.T) flow {
	return flow{"rotation of the key-encryption key", map[string]string{"more": "kek_file_new: " + kekFile(t)}, 5,
		func(t *testing.T, s *site) []step {
			return []step{{
				name: "rotation",
				ask:  func() answer { return s.operate(t, http.MethodPost, "/admin/key-encryption-keys", nil) },
				good: func(a answer) {
					var list []api.KeyEncryptionKey
					wantStatus(t, a, http.StatusOK)
					if err := json.Unmarshal([]byte(a.body), &list); err != nil || len(list) != 2 || list[0].Secrets != 0 || list[1].Secrets == 0 {
						t.Errorf("answer = %v, want that all secrets are sealed under the second key", a)
					}
				},
			}}
		}}
}

// nextKEK is a key-encryption key that is to follow the present one.
var nextKEK = [32]byte{1, 2, 3}

// kekFile returns the path of a file with nextKEK.
func kekFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek.new")
	if err := os.WriteFile(path, fmt.Appendf(nil, "%x", nextKEK), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
