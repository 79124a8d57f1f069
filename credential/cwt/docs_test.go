package cwt_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/imidentity/issuer/credential/cwt"
)

// TestDocs checks that docs/cwt.md shows messages that are made here, and counts the vectors.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/cwt.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for name, data := range map[string][]byte{
		"access token": signed(t, userSet(t), phone, "k1", issuerP256),
		"KBT":          presented(t, issuedVC(t, deviceVC(), "k1", issuerP256), phone),
	} {
		shown, err := cwt.Diagnose(data)
		if err != nil {
			t.Fatal(err)
		}
		const margin = "    "
		if block := "\n\n" + margin + strings.ReplaceAll(shown, "\n", "\n"+margin) + "\n\n"; !strings.Contains(page, block) {
			t.Errorf("the page lacks the %s\n%s", name, block)
		}
	}
	if want := "has " + strconv.Itoa(len(readVectors(t))) + " messages"; !strings.Contains(page, want) {
		t.Errorf("the page lacks %q", want)
	}
}
