package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

var shownCode = regexp.MustCompile(`(?s)(http://\S+/device)\n.*\n  ([B-Z]{4}-[B-Z]{4})\n`)

// enter waits until file has the page and the user code of a login elsewhere, enters the code there as a person and decides. It returns the
// last page.
func enter(person, file, decision string) (page string, err error) {
	var shown []string
	for range 3000 {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if shown = shownCode.FindStringSubmatch(string(text)); shown != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if shown == nil {
		return "", fmt.Errorf("%s has no page and code", file)
	}
	b := browser.New(nil)
	end := func(u *url.URL) bool { return strings.HasSuffix(u.Path, "/device/done") }
	done, err := b.Login(context.Background(), shown[1], end, map[string]string{
		"text": person, "password": person, "user_code": strings.ToLower(shown[2]), "decision": decision,
	})
	if err != nil {
		return "", err
	}
	resp, err := b.Client().Get(done.String())
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
