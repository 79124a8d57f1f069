// Package contract holds a running server to its OpenAPI document: a [Contract] stands in front of the server as a
// reverse proxy, lets everything pass unchanged, and writes down each exchange that the document does not allow.
//
// A request that the document refuses is no violation when the server refuses it too: so clients may send nonsense
// through it. Beside the document it holds answers to what OpenAPI cannot say: a nonce goes with every answer that is
// not to be stored, and an answer that describes no content has none.
package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

func init() {
	// Media types of the document that the library does not know by itself.
	openapi3filter.RegisterBodyDecoder("application/jwk-set+json", openapi3filter.JSONBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/scim+json", openapi3filter.JSONBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/pkix-crl", openapi3filter.FileBodyDecoder)
	for _, text := range []string{
		"text/html", "application/token-introspection+jwt", "application/im-introspection-batch+jwt", "application/im-staple+jwt",
		"application/statuslist+jwt", "application/im-rekey+jwt", "application/im-export+jwt", "application/im-successor+jwt",
		"application/asp+jwt",
	} {
		openapi3filter.RegisterBodyDecoder(text, openapi3filter.PlainBodyDecoder)
	}
}

// A Contract is an OpenAPI document and what was seen of it.
type Contract struct {
	document *openapi3.T
	router   routers.Router

	mu         sync.Mutex
	violations []string
	seen       map[string]bool
}

// Load reads the OpenAPI document at path, which must be a valid one.
func Load(ctx context.Context, path string) (*Contract, error) {
	document, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	if err := document.Validate(ctx); err != nil {
		return nil, fmt.Errorf("contract: %s: %w", path, err)
	}
	document.Servers = openapi3.Servers{{URL: "/"}} // Wherever the server listens.
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		return nil, fmt.Errorf("contract: %s: %w", path, err)
	}
	return &Contract{document: document, router: router, seen: make(map[string]bool)}, nil
}

// Proxy returns the reverse proxy that stands in front of the server at target.
func (c *Contract) Proxy(target *url.URL) http.Handler {
	type bodyKey struct{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(resp *http.Response) error {
			answer, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			if err := resp.Body.Close(); err != nil {
				return err
			}
			resp.Body = io.NopCloser(bytes.NewReader(answer))
			asked, _ := resp.Request.Context().Value(bodyKey{}).([]byte)
			c.check(resp, asked, answer)
			return nil
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(asked))
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, asked)))
	})
}

// Violations returns what the document does not allow and was seen, in the order of the exchanges.
func (c *Contract) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}

// Unseen returns the operations of the document that were not seen to succeed, as "GET /path".
func (c *Contract) Unseen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var unseen []string
	for path, item := range c.document.Paths.Map() {
		for method := range item.Operations() {
			if name := method + " " + path; !c.seen[name] {
				unseen = append(unseen, name)
			}
		}
	}
	slices.Sort(unseen)
	return unseen
}

// check compares one exchange with the document.
func (c *Contract) check(resp *http.Response, asked, answer []byte) {
	ctx := context.WithoutCancel(resp.Request.Context())
	// The request as the server got it, with its body anew.
	req := resp.Request.Clone(ctx)
	req.URL = &url.URL{Path: resp.Request.URL.Path, RawPath: resp.Request.URL.RawPath, RawQuery: resp.Request.URL.RawQuery}
	req.Body = io.NopCloser(bytes.NewReader(asked))
	exchange := fmt.Sprintf("%s %s answered %d", req.Method, req.URL.Path, resp.StatusCode)

	if req.Method == http.MethodOptions {
		// What a browser asks before a page's request is no operation, and the same everywhere.
		if resp.StatusCode != http.StatusNoContent || len(resp.Header.Values("DPoP-Nonce")) != 0 {
			c.violated(exchange, errors.New("a preflight is answered by 204, and without a DPoP-Nonce"))
		}
		return
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		unknown := resp.StatusCode == http.StatusNotFound && errors.Is(err, routers.ErrPathNotFound) ||
			resp.StatusCode == http.StatusMethodNotAllowed && errors.Is(err, routers.ErrMethodNotAllowed)
		if !unknown {
			c.violated(exchange, err)
		}
		return
	}
	options := &openapi3filter.Options{
		AuthenticationFunc:                openapi3filter.NoopAuthenticationFunc, // Whether the client may is for the server.
		IncludeResponseStatus:             true,
		RejectWhenRequestBodyNotSpecified: true,
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(ctx, in); err != nil && !refused(resp) {
		c.violated(exchange, err)
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header,
		Body: io.NopCloser(bytes.NewReader(answer)), Options: options,
	}
	if err := openapi3filter.ValidateResponse(ctx, out); err != nil {
		c.violated(exchange, err)
		return
	}
	if resp.Header.Get("Cache-Control") == "no-store" && len(resp.Header.Values("DPoP-Nonce")) != 1 {
		c.violated(exchange, errors.New("not to be stored, and without a DPoP-Nonce"))
	}
	if described := route.Operation.Responses.Status(resp.StatusCode); len(described.Value.Content) == 0 && len(answer) > 0 {
		c.violated(exchange, errors.New("has content, and the document describes none"))
	}
	if !refused(resp) || route.Operation.OperationID == "cancelLogin" && resp.StatusCode == http.StatusSeeOther { // it is asked to refuse
		c.mu.Lock()
		c.seen[route.Method+" "+route.Path] = true
		c.mu.Unlock()
	}
}

func (c *Contract) violated(exchange string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, exchange+": "+strings.Join(strings.Fields(err.Error()), " "))
}

// refused reports whether an answer says no, if only in a redirect (RFC 6749 §4.1.2.1).
func refused(resp *http.Response) bool {
	if resp.StatusCode >= http.StatusBadRequest {
		return true
	}
	location, err := resp.Location()
	return err == nil && location.Query().Has("error")
}
