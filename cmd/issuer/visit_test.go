package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

var firstURL = regexp.MustCompile(`https?://\S+`)

// visit is a person whose browser is sent to the first URL in a file, once it is there. She signs in, agrees to
// whatever she is asked, and ends at the page that the program on her machine shows.
func visit(person, file string) (page string, err error) {
	var start string
	for range 3000 {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if start = firstURL.FindString(string(text)); start != "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if start == "" {
		return "", fmt.Errorf("%s names no URL", file)
	}
	b := browser.New(nil)
	home := func(u *url.URL) bool { return u.Hostname() == "127.0.0.1" && u.Path == "/callback" }
	back, err := b.Login(context.Background(), start, home, map[string]string{"text": person, "password": person})
	if err != nil {
		return "", err
	}
	if err := stray(b.Client(), *back); err != nil {
		return "", err
	}
	resp, err := b.Client().Get(back.String())
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// stray sends to where the program listens what any page or program on the machine could send: requests that are not
// the answer it waits for. Each is refused.
func stray(c *http.Client, back url.URL) error {
	other := back.Query()
	other.Set("state", "of-another-login")
	twice := back.Query()
	twice.Add("state", twice.Get("state"))
	for _, change := range []struct {
		method, path, query string
		status              int
	}{
		{http.MethodGet, "/callback", "", http.StatusBadRequest},
		{http.MethodGet, "/callback", other.Encode(), http.StatusBadRequest},
		{http.MethodGet, "/callback", twice.Encode(), http.StatusBadRequest},
		{http.MethodPost, "/callback", back.RawQuery, http.StatusBadRequest},
		{http.MethodGet, "/favicon.ico", back.RawQuery, http.StatusNotFound},
	} {
		back.Path, back.RawQuery = change.path, change.query
		req, err := http.NewRequest(change.method, back.String(), nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != change.status {
			return fmt.Errorf("%s %s answered %s, want %d", change.method, change.path, resp.Status, change.status)
		}
	}
	return nil
}
