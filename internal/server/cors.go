package server

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// A sharing says which pages a browser lets read the answers of a route.
type sharing int

const (
	// ownOrigin is for what a person opens or an operator asks: no page of another origin reads it.
	ownOrigin sharing = iota
	// anyOrigin is for what programs call, among them those that run in a page of any origin.
	anyOrigin
)

// What pages of other origins may send, and what they may read beside the few headers that every page may.
const (
	sharedRequestHeaders = "Authorization, DPoP, Content-Type"
	sharedAnswerHeaders  = "DPoP-Nonce, WWW-Authenticate, Retry-After, Link"
	// preflightAge is for how many seconds a browser may remember what a preflight said. Browsers that cap it do so here.
	preflightAge = "7200"
)

// share lets pages of other origins call the paths of a table that are meant for programs (CORS: Fetch §3.2), also
// where the answer is a refusal of whatever kind: a page must be able to read why, and which nonce to use.
//
// Every origin may, and the header says so in every answer, whoever asks: these endpoints look at no cookie and at
// nothing else that a browser would add by itself, so a page learns and does nothing that its makers could not from a
// machine of their own. Access-Control-Allow-Credentials is never sent, so that a browser hides the answer from a page
// that makes it add such things. Where cookies do count, at /authorize and in what follows, nothing is shared.
func share(table []route) echo.MiddlewareFunc {
	methods := make(map[string]string) // by path, as echo writes it
	for _, r := range table {
		if r.shared != anyOrigin {
			continue
		}
		if methods[r.echoPath()] != "" {
			methods[r.echoPath()] += ", "
		}
		methods[r.echoPath()] += r.method
	}
	origins, exposed := []string{"*"}, []string{sharedAnswerHeaders} // in every answer the same
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			allowed, shared := methods[c.Path()]
			// A wrong path is a program's mistake, which its makers must be able to read, unless people are meant.
			missed := len(methods) > 0 && c.Path() == "" && !isPagePath(c.Request().URL.Path)
			if !shared && !missed {
				return next(c)
			}
			h := c.Response().Header()
			h["Access-Control-Allow-Origin"], h["Access-Control-Expose-Headers"] = origins, exposed
			if missed || c.Request().Method != http.MethodOptions {
				return next(c)
			}
			h.Set("Access-Control-Allow-Methods", allowed)
			h.Set("Access-Control-Allow-Headers", sharedRequestHeaders)
			h.Set("Access-Control-Max-Age", preflightAge)
			h.Set("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers") // Fetch §3.2.5: for caches in between
			return next(c)                                                                 // echo's own answer: 204 with Allow
		}
	}
}
