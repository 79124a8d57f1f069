package interop_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

// television links a screen without a browser: the program shows a QR code, a phone reads it, and its owner allows the screen on the page
// behind it. Then the screen has a token, whose device has the name of the screen.
func television(t *testing.T, ctx context.Context, issuer string) {
	binary := program(t, "./cmd/issuer")
	env := append(os.Environ(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME=", "ISSUER="+issuer)
	screen := exec.CommandContext(ctx, binary, "login", "--device", "--client-id", "tv", "--device-name", "Living room")
	screen.Env = env
	shown, err := screen.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := screen.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = screen.Process.Kill() }() // if the test fails before it ends

	lines := bufio.NewReader(shown)
	var picture, told strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the screen shows no QR code: %v\n%s", err, told.String())
		}
		told.WriteString(line)
		if strings.ContainsAny(line, "█▀▄") {
			picture.WriteString(line)
		} else if picture.Len() > 0 {
			break
		}
	}
	rest := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(lines)
		rest <- string(text)
	}()
	page, err := readQR(screenOf(t, picture.String()))
	if err != nil || !strings.HasPrefix(page, issuer+"/device?user_code=") {
		t.Fatalf("the QR code was read as %q, %v\n%s", page, err, told.String())
	}
	_, err = browser.New(nil).Login(ctx, page, browser.To(issuer+"/device/done"),
		map[string]string{"login": "bob", "password": "bob", "decision": "allow"})
	if err != nil {
		t.Fatal(err)
	}
	said := <-rest
	if err := screen.Wait(); err != nil {
		t.Fatalf("the screen is not logged in: %v\n%s%s", err, told.String(), said)
	}
	token := exec.CommandContext(ctx, binary, "token", "--decode")
	token.Env = env
	if out, err := token.CombinedOutput(); err != nil || !strings.Contains(string(out), "client_id  tv\n") {
		t.Errorf("issuer token --decode = %s, %v, want a token of the screen", out, err)
	}
}
