package interop_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/auth/oauth"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/imidentity/issuer/internal/browser"
)

// indigo logs bob in, refreshes, shows the token to a resource and logs out with the OAuth client of Bluesky's Go SDK, as a
// public client and as one that signs assertions: PAR, PKCE, DPoP, and one assertion for a request and its retry with a
// nonce. It is made for AT Protocol. What finds server and person there (handles, DIDs, client ids that are URLs, and
// metadata that promise all that) is not used; what speaks OAuth is.
func indigo(t *testing.T, ctx context.Context, issuer string) {
	resource := startResource(t, ctx, issuer, "resource")
	for name, id := range map[string]string{"public": "im-app", "with a key": "web"} {
		t.Run(name, func(t *testing.T) {
			scopes := []string{"im:handle", "im:device"}
			config := oauth.NewPublicConfig(id, redirect, scopes)
			if id == "web" {
				raw, err := signers["ES256"].(*ecdsa.PrivateKey).Bytes()
				if err != nil {
					t.Fatal(err)
				}
				key, err := atcrypto.ParsePrivateBytesP256(raw)
				if err != nil {
					t.Fatal(err)
				}
				if err := config.SetClientSecret(key, "ES256"); err != nil {
					t.Fatal(err)
				}
			}
			app := oauth.NewClientApp(&config, oauth.NewMemStore())
			meta := serverMetadata(t, ctx, issuer)
			started, sent := begun(t, ctx, app, meta, scopes)
			first, retry := sent.forms[0], sent.forms[len(sent.forms)-1]
			if len(sent.forms) != 2 || first.Get("client_assertion") != retry.Get("client_assertion") || (first.Get("client_assertion") != "") != (id == "web") {
				t.Errorf("%d requests to /par, want one and its retry with the same assertion", len(sent.forms))
			}
			if err := app.Store.SaveAuthRequestInfo(ctx, *started); err != nil {
				t.Fatal(err)
			}
			login := meta.AuthorizationEndpoint + "?" + url.Values{"client_id": {id}, "request_uri": {started.RequestURI}}.Encode()
			back, err := browser.New(nil).Login(ctx, login, browser.To(redirect), map[string]string{"login": "bob", "password": "bob"})
			if err != nil {
				t.Fatal(err)
			}
			known, err := app.Store.GetAuthRequestInfo(ctx, back.Query().Get("state"))
			if err != nil || known.AuthServerURL != back.Query().Get("iss") {
				t.Fatalf("the answer is none to this request: %v", err)
			}
			tokens, err := app.SendInitialTokenRequest(ctx, back.Query().Get("code"), *known)
			if err != nil {
				t.Fatal(err)
			}

			const account = syntax.DID("did:web:bob.example.com") // the key of its store; the server knows none
			err = app.Store.SaveSession(ctx, oauth.ClientSessionData{
				AccountDID: account, SessionID: known.State, HostURL: resource, AuthServerURL: known.AuthServerURL,
				AuthServerTokenEndpoint: known.AuthServerTokenEndpoint, AuthServerRevocationEndpoint: known.AuthServerRevocationEndpoint,
				Scopes: strings.Fields(tokens.Scope), AccessToken: tokens.AccessToken, RefreshToken: tokens.RefreshToken,
				DPoPAuthServerNonce: known.DPoPAuthServerNonce, DPoPHostNonce: known.DPoPAuthServerNonce,
				DPoPPrivateKeyMultibase: known.DPoPPrivateKeyMultibase,
			})
			if err != nil {
				t.Fatal(err)
			}
			session, err := app.ResumeSession(ctx, account, known.State)
			if err != nil {
				t.Fatal(err)
			}
			session.Data.AccessToken += "x" // the resource refuses it, and so the client refreshes
			if got := greeting(t, ctx, session, resource); !strings.HasPrefix(got, "Hello im:%40bob@example.com, your key is ") {
				t.Errorf("the resource says %q, want Hello bob", got)
			}
			if session.Data.AccessToken == tokens.AccessToken || session.Data.RefreshToken == tokens.RefreshToken {
				t.Error("the client has not refreshed")
			}
			if err := app.Logout(ctx, account, known.State); err != nil {
				t.Errorf("Logout = %v", err)
			}
			if token, err := session.RefreshTokens(ctx); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
				t.Errorf("RefreshTokens after Logout = %q, %v, want invalid_grant", token, err)
			}
		})
	}
	t.Run("metadata", func(t *testing.T) {
		meta := serverMetadata(t, ctx, issuer)
		if err := meta.Validate(issuer); err == nil {
			t.Error("the metadata pass for a server of AT Protocol")
		}
		// What its resolver misses is not DPoP, PKCE, PAR or private_key_jwt.
		meta.Issuer, meta.AuthorizationEndpoint = "https://issuer.example", "https://issuer.example/authorize"
		meta.ScopesSupported = append(meta.ScopesSupported, "atproto")
		meta.RequirePushedAuthorizationRequests = true
		meta.ClientIDMetadataDocumentSupported = true
		if err := meta.Validate("https://issuer.example"); err != nil {
			t.Errorf("Validate = %v, want nil", err)
		}
	})
}

// begun sends the authorization request. The client makes a new key for each, and leaves out the zeros that a coordinate of
// one in 128 begins with. That is no key by RFC 7518 §6.2.1.2, and refused: then it begins again.
func begun(t *testing.T, ctx context.Context, app *oauth.ClientApp, meta *oauth.AuthServerMetadata, scopes []string) (*oauth.AuthRequestData, *recorder) {
	t.Helper()
	for {
		sent := &recorder{}
		app.Client = &http.Client{Transport: sent}
		started, err := app.SendAuthRequest(ctx, meta, scopes, "")
		if err == nil {
			return started, sent
		}
		if !sent.cropped(t) || !strings.Contains(err.Error(), "invalid_dpop_proof") {
			t.Fatal(err)
		}
	}
}

// serverMetadata reads the issuer's metadata as the client does.
func serverMetadata(t *testing.T, ctx context.Context, issuer string) *oauth.AuthServerMetadata {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var meta oauth.AuthServerMetadata
	if err := json.NewDecoder(answer.Body).Decode(&meta); err != nil {
		t.Fatal(err)
	}
	return &meta
}

// greeting shows the session's token to the resource.
func greeting(t *testing.T, ctx context.Context, session *oauth.ClientSession, resource string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, resource, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := session.DoWithAuth(http.DefaultClient, req, "")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A recorder keeps the forms that are sent, and the last proof.
type recorder struct {
	forms []url.Values
	proof string
}

// cropped reports whether the key of the last proof lacks octets.
func (r *recorder) cropped(t *testing.T) bool {
	t.Helper()
	text, _, _ := strings.Cut(r.proof, ".")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ JWK struct{ X, Y string } }
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	return len(header.JWK.X) < 43 || len(header.JWK.Y) < 43 // base64url of 32 octets
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	r.forms, r.proof = append(r.forms, form), req.Header.Get("DPoP")
	return http.DefaultTransport.RoundTrip(req)
}
