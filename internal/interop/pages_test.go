package interop_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

// pages runs pages.mjs: a real browser on every page that people see.
func pages(t *testing.T, ctx context.Context, issuer, web string) {
	cmd := node(t, ctx, "pages.mjs", map[string]string{
		"ISSUER": issuer, "CLIENT_ID": "rooms-for-friends", "DOMAIN": "example.org", "PROVIDER": "staff", "WEB": web,
		"SHOTS": os.Getenv("SHOTS"),
	})
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("pages.mjs: %v", err)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := slices.Concat(journey("plain"), journey("axe"))
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || got[i] != want[i] {
			t.Fatalf("page %d:\n got %q\nwant %q", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
}

// journey is what pages.mjs prints of a browser to which nothing is wrong with the pages.
func journey(name string) []string {
	const asked = "Allow Rooms for Friends to act as you?"
	list := []string{
		"home: Sign-in service",
		"app: callback access_denied of-the-app",
		"domain: Where is your account?",
		"provider: How do you sign in?",
		"handle: Choose your name",
		"handle refused: Choose your name",
		"consent: " + asked,
		"consent, loaded again: " + asked,
		"another account: at the provider",
		"app: callback access_denied of-the-app",
		"over: This sign-in is over",
		"consent, other person: " + asked,
		"app: callback code of-the-app",
		"consent, app on the web: " + asked,
		"app: Welcome",
		"consent, private-use scheme: " + asked,
		"app: com.example.rooms:/callback",
		"error: This did not work",
	}
	for i := range list {
		list[i] = name + " " + list[i]
	}
	return list
}

// logo is the image that every page shows.
func logo(t *testing.T) string {
	t.Helper()
	square := image.NewUniform(color.RGBA{R: 26, G: 83, B: 197, A: 255})
	var file bytes.Buffer
	if err := png.Encode(&file, &image.Paletted{Pix: make([]byte, 64*64), Stride: 64, Rect: image.Rect(0, 0, 64, 64), Palette: color.Palette{square.C}}); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

// onTheWeb serves an app by https, which sends people on to another host as soon as they come back, and returns its
// redirect URI.
func onTheWeb(t *testing.T) string {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			_, port, _ := strings.Cut(r.Host, ":")
			http.Redirect(w, r, "https://localhost:"+port+"/done", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<h1>Welcome</h1>")
	}))
	t.Cleanup(s.Close)
	return s.URL + "/callback"
}
