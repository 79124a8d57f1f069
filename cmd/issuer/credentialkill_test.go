package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

// holderClient is an app whose devices get credentials.
const holderClient = `
  - id: holder
    auth: none
    redirect_uris: ["http://127.0.0.1/callback"]
    grants: [authorization_code, refresh_token]
    scopes: ["im:handle", "im:device", account, "im:credential"]
    domains: [example.com]
`

// A credentialHolder is a new device of a person, with a credential.
type credentialHolder struct {
	*wallet
	device     claims.ID
	credential credential.Credential
}

// verifierOf returns the keys of an issuer, and a reader of its status lists that has no copy of one.
func verifierOf(t *testing.T, issuer string) (*trust.Table, *statuslist.Reader) {
	t.Helper()
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "example.com", Issuer: issuer}}, Client: http.DefaultClient, ForeignClient: http.DefaultClient, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: http.DefaultClient, Bits: 2, AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	return table, reader
}

// credentialHolder logs a person in on a new device and gets a credential.
func (v *victim) credentialHolder(t *testing.T, person string) *credentialHolder {
	t.Helper()
	a, err := newApp(v.issuer)
	if err != nil {
		t.Fatal(err)
	}
	a.ID = "holder"
	flow := a.Begin(redirectURI, url.Values{
		"dpop_jkt": {a.signer.JKT()}, "scope": {"im:handle im:device account im:credential"},
	})
	back, err := browser.New(nil).Login(t.Context(), flow.URL, browser.To(redirectURI), map[string]string{"text": person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := a.Finish(t.Context(), flow, back)
	if err != nil {
		t.Fatal(err)
	}
	h := &credentialHolder{wallet: &wallet{&login{a, tokens}}}
	set, err := readToken(tokens.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if h.device, err = claims.Parse(set.Device); err != nil {
		t.Fatal(err)
	}
	own, err := a.Token(t.Context(), url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}, "resource": {v.issuer}, "scope": {"im:credential"},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.RefreshToken = own.RefreshToken
	meta, err := client.DiscoverCredentials(t.Context(), http.DefaultClient, v.issuer)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Credentials(t.Context(), meta, client.CredentialRequest{
		Configuration: "im-device", AccessToken: own.AccessToken, Keys: []*dpop.Signer{signer},
	})
	if err != nil {
		t.Fatal(err)
	}
	table, _ := verifierOf(t, v.issuer)
	h.credential, err = sdjwt.Verify(t.Context(), got[0], sdjwt.Options{
		Options: credential.Options{Issuers: table, Unchecked: true, Development: true}, WithoutBinding: true,
	})
	if err != nil || h.credential.Status == nil {
		t.Fatalf("credential = %+v, %v, want a good one with a status", h.credential, err)
	}
	return h
}

// status returns what the status list says of the credential now.
func (h *credentialHolder) status(t *testing.T) statuslist.Status {
	t.Helper()
	_, reader := verifierOf(t, h.credential.Issuer)
	status, err := reader.Status(t.Context(), h.credential.Issuer, *h.credential.Status)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// TestCredentialsThroughKills kills the issuer at the moment at which it acknowledges the end of a credential, while others are under way.
// What was acknowledged is in the status list at the next start, and for ever; what was cut off is done when it is asked for again.
func TestCredentialsThroughKills(t *testing.T) {
	t.Parallel()
	const domain = "example.com"
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	v := newVictim(t, holderClient, "replay: storage", "limits: {devices_per_user: 1000}")
	v.start(t)
	var past []*credentialHolder
	wanted := make(map[*credentialHolder]statuslist.Status)
	cut := 0
	for round := range rounds {
		stays := v.credentialHolder(t, person(0))
		wanted[stays], past = statuslist.Valid, append(past, stays)
		ends := []struct {
			name string
			want statuslist.Status
			end  func(h *credentialHolder, admin client.Admin) error
		}{
			{"by its user", statuslist.Invalid, func(h *credentialHolder, _ client.Admin) error { return h.endOwn(t) }},
			{"by an operator", statuslist.Invalid, func(h *credentialHolder, admin client.Admin) error {
				_, err := admin.EndCredential(t.Context(), domain, h.credential.ID, "test")
				return err
			}},
			{"with its device", statuslist.Invalid, func(h *credentialHolder, admin client.Admin) error {
				_, err := admin.RemoveDevice(t.Context(), domain, h.device.Device(), "test")
				return err
			}},
			{"with its user", statuslist.Invalid, func(h *credentialHolder, admin client.Admin) error {
				_, err := admin.DisableUser(t.Context(), domain, h.device.Local())
				return err
			}},
			{"its handle alone", credential.StatusHandleEnded, func(h *credentialHolder, admin client.Admin) error {
				_, err := admin.RenameUser(t.Context(), domain, h.device.Local(), fmt.Sprintf("renamed%d", round), false)
				return err
			}},
		}
		holders, results, answered := make([]*credentialHolder, len(ends)), make([]error, len(ends)), make(chan int, len(ends))
		for i := range ends {
			holders[i] = v.credentialHolder(t, person(i+1))
			if got := holders[i].status(t); got != statuslist.Valid {
				t.Fatalf("status of a new credential = %v, want valid", got)
			}
		}
		var working sync.WaitGroup
		admin := client.Socket(v.admin)
		for i, e := range ends {
			working.Go(func() {
				results[i] = e.end(holders[i], admin)
				answered <- i
			})
		}
		for range 1 + round%len(ends) {
			<-answered
		}
		v.kill(t)
		v.start(t)
		working.Wait()
		for i, e := range ends {
			h := holders[i]
			if results[i] != nil {
				cut++
				if got := h.status(t); got != e.want && got != statuslist.Valid {
					t.Errorf("status of a credential whose end %s was cut off = %v, want %v or valid", e.name, got, e.want)
				}
				if err := e.end(h, client.Socket(v.admin)); err != nil {
					t.Fatalf("the end %s after it was cut off (%v) = %v", e.name, results[i], err)
				}
			}
			if got := h.status(t); got != e.want {
				t.Errorf("round %d: status of a credential that ended %s = %v, want %v", round, e.name, got, e.want)
			}
			wanted[h], past = e.want, append(past, h)
		}
		if _, err := client.Socket(v.admin).EnableUser(t.Context(), domain, holders[3].device.Local()); err != nil {
			t.Fatal(err)
		}
	}
	v.kill(t)
	v.start(t)
	for _, h := range past {
		if got := h.status(t); got != wanted[h] {
			t.Errorf("status at the end = %v, want %v", got, wanted[h])
		}
	}
	v.stop(t)
	t.Logf("%d kills, %d credentials, %d ends cut off and done again", v.kills, len(past), cut)
}

// endOwn ends the credential by its device.
func (h *credentialHolder) endOwn(t *testing.T) error {
	own, err := h.Token(t.Context(), url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {h.RefreshToken}, "resource": {h.Server.Issuer}, "scope": {"account"},
	})
	if err != nil {
		return err
	}
	h.RefreshToken = own.RefreshToken
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, h.Server.Issuer+"/me/credentials/"+h.credential.ID, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "DPoP "+own.AccessToken)
	resp, err := h.HTTP.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("DELETE /me/credentials/%s = %d, %v, want 204", h.credential.ID, resp.StatusCode, err)
	}
	return nil
}
