package main

import (
	"fmt"
	"net/url"
	"strings"
)

// nextPage returns the URL of the next page that a Link header (RFC 8288) names, "" if there is none.
func nextPage(base, header string) (string, error) {
	for link := range strings.SplitSeq(header, ",") {
		target, params, ok := strings.Cut(strings.TrimSpace(link), ">")
		if !ok || !strings.HasPrefix(target, "<") || !strings.Contains(params, `rel="next"`) {
			continue
		}
		from, err := url.Parse(base)
		if err != nil {
			return "", err
		}
		to, err := from.Parse(target[1:])
		if err != nil {
			return "", fmt.Errorf("link to the next page: %w", err)
		}
		to.Scheme, to.Host = from.Scheme, from.Host // the socket, whatever the issuer calls itself
		return to.String(), nil
	}
	return "", nil
}
