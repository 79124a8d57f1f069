package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
)

const redirectURI = "http://127.0.0.1:7777/callback" // nobody listens: the browser stops before it goes there

// An app is the IM app on one device: a client of the issuer with a key of its own.
type app struct {
	*client.Client
	signer *dpop.Signer
	sent   *lastProof
}

func newApp(issuer string) (*app, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		return nil, err
	}
	sent := new(lastProof)
	h := &http.Client{Timeout: time.Minute, Transport: &dpop.Transport{Signer: signer, Base: sent}}
	meta, err := client.Discover(context.Background(), &http.Client{Timeout: time.Minute}, issuer)
	if err != nil {
		return nil, err
	}
	return &app{&client.Client{Server: meta, ID: "im-app", HTTP: h}, signer, sent}, nil
}

// begin logs a person in at her provider and returns the request with the issuer's answer to it.
func (a *app) begin(person string) (*client.Flow, *url.URL, error) {
	flow := a.Begin(redirectURI, url.Values{"dpop_jkt": {a.signer.JKT()}, "im_device_name": {person + "'s laptop"}})
	back, err := browser.New(nil).Login(context.Background(), flow.URL, browser.To(redirectURI),
		map[string]string{"text": person, "password": person})
	return flow, back, err
}

func (a *app) login(person string) (client.Tokens, error) {
	flow, back, err := a.begin(person)
	if err != nil {
		return client.Tokens{}, err
	}
	return a.Finish(context.Background(), flow, back)
}

// lastProof remembers the proof of the last request that went through it.
type lastProof struct{ proof atomic.Value }

func (p *lastProof) RoundTrip(r *http.Request) (*http.Response, error) {
	p.proof.Store(r.Header.Get("DPoP"))
	return http.DefaultTransport.RoundTrip(r)
}

// repeat is the app of somebody who has seen its last request: the proof stays the same, whatever is sent.
func (a *app) repeat() *client.Client {
	c := *a.Client
	c.HTTP = &http.Client{Timeout: time.Minute, Transport: fixedProof(a.sent.proof.Load().(string))}
	return &c
}

// fixedProof sends one and the same proof with every request.
type fixedProof string

func (p fixedProof) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("DPoP", string(p))
	return http.DefaultTransport.RoundTrip(r)
}
