// Browse stands where a desktop has xdg-open: it opens a URL, fills in whatever forms come as one person would, and goes
// where they lead, until it is at the address on loopback where a program waits for its answer.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

func main() {
	if err := browse(os.Args[1], os.Getenv("PERSON")); err != nil {
		fmt.Fprintln(os.Stderr, "browse:", err)
		os.Exit(1)
	}
}

func browse(address, person string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // of what hangs
	defer cancel()
	home := func(u *url.URL) bool { return u.Hostname() == "127.0.0.1" }
	back, err := browser.New(nil).Login(ctx, address, home, map[string]string{"login": person, "password": person})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, back.String(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
