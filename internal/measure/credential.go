package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/imidentity/issuer/dpop"
)

// credentialsOfDevice is how many credentials a device may have at a time.
const credentialsOfDevice = 5

// credentials is one credential for each request, for a key of its own. The devices are new in each window, because a device has few
// credentials. The issuer has seen their tokens before.
func (u *subject) credentials(sample *exchange) *series {
	var next int // each user in turn
	return &series{pid: u.pid(), least: 10 * callers, prepare: func(ctx context.Context, n int) (action, error) {
		first := next
		devices := make([]*session, (n+credentialsOfDevice-1)/credentialsOfDevice)
		next += len(devices)
		err := together(loginCallers, func(caller int) error {
			for i := caller; i < len(devices); i += loginCallers {
				var err error
				if devices[i], err = u.login(ctx, (first+i)%people); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if err := u.show(ctx, devices); err != nil {
			return nil, err
		}
		nonce, err := u.keyNonce(ctx)
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, 0, len(devices)*credentialsOfDevice)
		for _, d := range devices {
			proofs, err := u.proofs(ctx, d.signer, credentialsOfDevice, http.MethodPost, "/credential", d.access)
			if err != nil {
				return nil, err
			}
			for _, proof := range proofs {
				request, err := u.credentialRequest(d, proof, nonce)
				if err != nil {
					return nil, err
				}
				requests = append(requests, request)
			}
		}
		return u.all(ctx, requests[:n], sample, contains(`"credentials":[{"credential":"`))
	}}
}

// show shows the tokens of devices once.
func (u *subject) show(ctx context.Context, devices []*session) error {
	requests := make([][]byte, len(devices))
	for i, d := range devices {
		proofs, err := u.proofs(ctx, d.signer, 1, http.MethodGet, "/me/links", d.access)
		if err != nil {
			return err
		}
		requests[i] = u.request("/me/links", nil, "Authorization", "DPoP "+d.access, "DPoP", proofs[0])
	}
	conns, err := u.conns.take(ctx, callers)
	if err != nil {
		return err
	}
	return share(conns, len(requests), func(c *conn, i int) error {
		_, err := c.do(requests[i])
		return err
	})
}

// keyNonce returns a nonce for key proofs.
func (u *subject) keyNonce(ctx context.Context) (string, error) {
	conns, err := u.conns.take(ctx, 1)
	if err != nil {
		return "", err
	}
	body, err := conns[0].do(u.request("/credential/nonce", url.Values{}))
	if err != nil {
		return "", err
	}
	var answer struct {
		Nonce string `json:"c_nonce"`
	}
	return answer.Nonce, json.Unmarshal(body, &answer)
}

// credentialRequest is a request for one credential, for a new key.
func (u *subject) credentialRequest(d *session, proof, nonce string) ([]byte, error) {
	key, err := newSigner()
	if err != nil {
		return nil, err
	}
	text, err := key.KeyProof(dpop.KeyProofParams{Audience: u.url, Client: appID, Nonce: nonce})
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`{"credential_configuration_id":"im-device","proofs":{"jwt":[%q]}}`, text)
	return fmt.Appendf(nil, "POST /credential HTTP/1.1\r\nHost: %s\r\nUser-Agent: measure\r\nAuthorization: DPoP %s\r\nDPoP: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", u.addr, d.access, proof, len(body), body), nil
}
