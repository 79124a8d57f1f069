package server

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// A sharing says which web pages may read the answers of a route.
type sharing int

const (
	// ownOrigin is for pages and for operators: no page of another origin may read the answers.
	ownOrigin sharing = iota
	// anyOrigin is for programs, including programs in pages of any origin.
	anyOrigin
)

// The headers that pages of other origins may send and read, besides those that every page may.
const (
	sharedRequestHeaders = "Authorization, DPoP, Content-Type"
	sharedAnswerHeaders  = "DPoP-Nonce, Replay-Nonce, WWW-Authenticate, Retry-After, Link"
	// preflightAge is how many seconds a browser may cache a preflight. Browsers have a limit of their own, at most this.
	preflightAge = "7200"
)

// sharedRoutes are the methods of the routes that are shared, as a header has them, by path as echo writes it.
type sharedRoutes map[string]string

func sharedOf(table []route) sharedRoutes {
	methods := make(sharedRoutes)
	for _, r := range table {
		if r.shared != anyOrigin {
			continue
		}
		if methods[r.echoPath()] != "" {
			methods[r.echoPath()] += ", "
		}
		methods[r.echoPath()] += r.method
	}
	return methods
}

// Values of headers that all shared answers have.
var (
	allOrigins = []string{"*"}
	exposed    = []string{sharedAnswerHeaders}
)

// share lets pages of other origins call the routes that are for programs (CORS: Fetch §3.2). It also covers refusals, because
// a page must be able to read the reason and the nonce.
//
// Every origin is allowed, in every answer. These endpoints use no cookies and nothing else that a browser adds by itself, so
// a page can do no more than a program elsewhere. Access-Control-Allow-Credentials is never sent, so a browser hides the
// answers to requests with cookies. Routes that use cookies, /authorize and those that follow it, are not shared.
func (methods sharedRoutes) share(c echo.Context) {
	allowed, shared := methods[c.Path()]
	// The developer of a program must be able to read that a path is wrong.
	missed := len(methods) > 0 && c.Path() == "" && !isPagePath(c.Request().URL.Path)
	if !shared && !missed {
		return
	}
	h := c.Response().Header()
	h["Access-Control-Allow-Origin"], h["Access-Control-Expose-Headers"] = allOrigins, exposed
	if missed || c.Request().Method != http.MethodOptions { // echo answers OPTIONS with 204 and Allow
		return
	}
	h.Set("Access-Control-Allow-Methods", allowed)
	h.Set("Access-Control-Allow-Headers", sharedRequestHeaders)
	h.Set("Access-Control-Max-Age", preflightAge)
	h.Set("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers") // Fetch §3.2.5: for caches
}
