package introspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// A reply is the answer to a request, with status 200 and of a type that was asked for.
type reply struct {
	text   []byte
	signed bool
	asked  time.Time
}

// direct asks a question that is never kept, joined or sent with others.
func (c *Client) direct(ctx context.Context, q Question) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	meta, err := c.meta.Get(ctx, published.Any)
	if err != nil {
		return Result{}, unknown(err)
	}
	form := url.Values{"token": {q.Token}}
	if len(q.Along) > 0 {
		along, _ := json.Marshal(q.Along) // strings have an encoding
		form.Set("im_along", string(along))
	}
	s := &q.Shown
	for _, p := range [...]struct{ name, value string }{
		{"proof", s.Proof}, {"presentation", s.Presentation},
	} {
		if p.value != "" {
			form.Set(p.name, p.value)
		}
	}
	switch {
	case s.Proof != "":
		form.Set("proof_htm", s.Method)
		form.Set("proof_htu", s.URL)
		if s.Nonce != "" {
			form.Set("proof_nonce", s.Nonce)
		}
	case s.Presentation != "":
		form.Set("presentation_aud", s.Audience)
		form.Set("presentation_nonce", s.Nonce)
	}
	mark := c.mark()
	answer, _, err := c.about(ctx, meta, form, s.given())
	switch {
	case err != nil:
		return Result{}, err
	case answer.Active && c.overtaken(mark, c.subjectOf(&answer, q.Token)):
		return Result{}, errOvertaken
	}
	return Result{Answer: answer}, nil
}

// askOne asks one question.
func (c *Client) askOne(ctx context.Context, meta *clientMetadata, a *asking) {
	answer, size, err := c.about(ctx, meta, url.Values{"token": {a.token}}, false)
	if err != nil {
		c.finish(a, Result{}, err)
		return
	}
	c.answered(a, answer, size)
}

// about asks about one token, and returns the answer and the size of its text.
func (c *Client) about(ctx context.Context, meta *clientMetadata, form url.Values, shown bool) (Answer, int, error) {
	r, err := c.post(ctx, meta.introspection, form, jose.TypeIntrospection, c.cfg.MaxAnswer)
	if err != nil {
		return Answer{}, 0, err
	}
	text := r.text
	var detail []byte
	if r.signed {
		claims, err := c.open(ctx, r, jose.TypeIntrospection)
		if err != nil {
			return Answer{}, 0, err
		}
		text, detail = claims.introspection, claims.detail
	}
	answer, err := c.readAnswer(text, detail, shown)
	return answer, len(text), err
}

// askSeveral asks several questions in one request. What is wrong with the answer to one of them does not concern the others.
func (c *Client) askSeveral(ctx context.Context, meta *clientMetadata, list []*asking) {
	tokens := make([]string, len(list))
	for i, a := range list {
		tokens[i] = a.token
	}
	text, _ := json.Marshal(tokens) // strings have an encoding
	var answers [][]byte
	r, err := c.post(ctx, meta.batch, url.Values{"tokens": {string(text)}}, jose.TypeIntrospectionBatch, c.cfg.MaxAnswer*len(list))
	if err == nil {
		answers, err = c.readBatch(ctx, r, len(list))
	}
	for i, a := range list {
		if err != nil {
			c.finish(a, Result{}, err)
			continue
		}
		answer, err := c.readItem(answers[i], r.signed)
		if err != nil {
			c.finish(a, Result{}, err)
			continue
		}
		c.answered(a, answer, len(answers[i]))
	}
}

// post sends a form. The type of a signed answer is that of its header typ. The error is one of [Client].
func (c *Client) post(ctx context.Context, endpoint string, form url.Values, typ string, limit int) (reply, error) {
	header, err := c.authenticate(ctx, form)
	if err != nil {
		return reply{}, unknown(fmt.Errorf("credentials for the issuer: %w", err))
	}
	req, err := http.NewRequestWithContext(fetch.For(ctx, fetch.Introspection), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return reply{}, unknown(err)
	}
	plain, signed := "application/json", "application/"+typ
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", header)
	if header == "" {
		req.Header.Del("Authorization")
	}
	req.Header.Set("Accept", plain)
	if c.cfg.Signed {
		req.Header.Set("Accept", signed)
	}
	asked := c.cfg.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, unknown(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return reply{}, refusedStatus(resp)
	}
	if err := fetch.CheckType(resp, plain, signed); err != nil {
		return reply{}, malformed("%w", err)
	}
	isSigned := fetch.CheckType(resp, signed) == nil
	if c.cfg.Signed && !isSigned {
		return reply{}, malformed("it is not signed")
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	switch {
	case err != nil:
		return reply{}, unknown(err)
	case len(text) > limit:
		return reply{}, malformed("it has more than %d bytes", limit)
	}
	return reply{text, isSigned, asked}, nil
}

// authenticate adds the caller's credentials to a form, or returns them as the header Authorization.
func (c *Client) authenticate(ctx context.Context, form url.Values) (header string, err error) {
	switch {
	case c.cfg.Token != nil:
		token, err := c.cfg.Token(ctx)
		if err == nil && !isToken(token) {
			err = errors.New("not an access token")
		}
		return "DPoP " + token, err
	case c.cfg.Assertion != nil:
		assertion, err := c.cfg.Assertion(ctx)
		form.Set("client_id", c.cfg.ClientID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
		return "", err
	}
	r := http.Request{Header: make(http.Header)}
	r.SetBasicAuth(url.QueryEscape(c.cfg.ClientID), url.QueryEscape(c.cfg.Secret)) // RFC 6749 §2.3.1
	return r.Header.Get("Authorization"), nil
}
