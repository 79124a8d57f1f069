package oauth

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/storage"
)

const (
	// DevicePath is the path of the page where a person enters a user code, the verification_uri.
	DevicePath = "/device"
	// deviceCodeLife is the default of Lifetimes.DeviceCode.
	deviceCodeLife = 10 * time.Minute
	// deviceInterval is how long a client waits between two polls (RFC 8628 §3.2), and by how much slow_down raises that (§3.5).
	deviceInterval = 5 * time.Second
)

// A DeviceAnswer is the answer to a device authorization request (RFC 8628 §3.2).
type DeviceAnswer struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int64  `json:"expires_in"`
	Interval                int64  `json:"interval"`
}

// deviceParameters are the parameters of a device authorization request that are stored; others are ignored (RFC 8628 §3.1).
var deviceParameters = []string{"scope", "resource", "im_domain", "im_device_name", "im_device_platform"}

// AuthorizeDevice begins a device authorization (RFC 8628 §3.1): a device without a browser gets a device code, and a user code to show to
// its user. A proof that comes with the request binds the device code to its key, as at [Provider.Push]. Without one, the first valid
// poll binds it. Errors are those of [Provider.Token], and those of admit.
func (p *Provider) AuthorizeDevice(ctx context.Context, r TokenRequest, admit Admit) (DeviceAnswer, error) {
	claimed, err := p.readProof(ctx, r, "/device_authorization")
	if err != nil {
		return DeviceAnswer{}, err
	}
	client, once, err := p.clients.Authenticate(ctx, r.Header, r.Form)
	if err != nil {
		return DeviceAnswer{}, err
	}
	if !client.Allows(GrantDevice) {
		return DeviceAnswer{}, refuse(CodeUnauthorizedClient, "The client is not registered for the grant type "+GrantDevice+".")
	}
	if err := p.limiter.Client(client, r.Source); err != nil {
		return DeviceAnswer{}, err
	}
	if claimed == nil && client.RequireDPoPJKT {
		return DeviceAnswer{}, refuse(CodeInvalidRequest, "The client is registered to name its key before the login: send a DPoP proof.")
	}
	proof, err := verifyProof(claimed) // before anything is said about its key
	if err != nil {
		return DeviceAnswer{}, err
	}
	request, domain, err := p.checkDeviceRequest(client, r.Form)
	if err != nil {
		return DeviceAnswer{}, err
	}
	if platform := account.PlatformOf(r.Header.Get("User-Agent")); platform != "" && !request.Has("im_device_platform") {
		request.Set("im_device_platform", platform)
	}
	code, err := p.random()
	if err != nil {
		return DeviceAnswer{}, err
	}
	now := p.now()
	row := storage.DeviceCode{
		Hash: hash(code), Client: client.ID, Request: request, Network: Network(r.Source),
		CreatedAt: now, ExpiresAt: now.Add(p.lifetimes.DeviceCode),
	}
	if proof != nil {
		row.JKT = proof.JKT
		if err := p.keyUsable(ctx, domain, proof.JKT); err != nil {
			return DeviceAnswer{}, err
		}
	}
	var userCode UserCode
	err = admit(client, row.Hash, row.ExpiresAt, func() (err error) {
		if proof != nil {
			if err := p.proofs.Spend(ctx, proof, r.Source); err != nil {
				return err
			}
		}
		userCode, err = p.storeDeviceCode(ctx, client, once, row)
		return err
	})
	if err != nil {
		return DeviceAnswer{}, err
	}
	return DeviceAnswer{
		DeviceCode: code, UserCode: userCode.String(),
		VerificationURI: p.issuer + DevicePath, VerificationURIComplete: p.DevicePage(userCode),
		ExpiresIn: int64(p.lifetimes.DeviceCode / time.Second), Interval: int64(deviceInterval / time.Second),
	}, nil
}

// DevicePage returns the URL of the page about a user code: the verification_uri_complete (RFC 8628 §3.3.1).
func (p *Provider) DevicePage(code UserCode) string {
	return p.issuer + DevicePath + "?user_code=" + code.String()
}

// storeDeviceCode stores a device code under a new user code.
func (p *Provider) storeDeviceCode(
	ctx context.Context, client *clients.Client, once *clients.Assertion, row storage.DeviceCode,
) (userCode UserCode, err error) {
	for range 4 { // two live user codes are the same in one of millions of requests
		if userCode, err = p.newUserCode(); err != nil {
			return "", err
		}
		if row.UserCode, err = p.userCodes.mac(userCode); err != nil {
			return "", err
		}
		err = p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			if err := client.Check(ctx, tx); err != nil {
				return err
			}
			if err := once.Spend(ctx, tx); err != nil {
				return err
			}
			return tx.InsertDeviceCode(ctx, row)
		})
		if !errors.Is(err, storage.ErrConflict) {
			return userCode, err
		}
	}
	return "", err
}

// checkDeviceRequest checks the parameters as those of an authorization request. It returns the parameters to store, and the domain, which
// is empty if the person who allows the request decides it.
func (p *Provider) checkDeviceRequest(c *clients.Client, params url.Values) (url.Values, string, error) {
	request := make(url.Values)
	for _, name := range deviceParameters {
		if v, ok := params[name]; ok {
			request[name] = v
		}
	}
	domain, err := p.domainFor(c, request)
	if err != nil {
		return nil, "", err
	}
	if err := checkDescription(request); err != nil {
		return nil, "", err
	}
	if err := checkScopes(c, request); err != nil {
		return nil, "", err
	}
	if domain != "" {
		request.Set("im_domain", domain) // so that a later check comes to the same result
	}
	_, err = p.audience(c, domain, p.resources(request))
	return request, domain, err
}

// Network returns the part of an address that is stored and shown of the sender of a request: the first 24 bits of an IPv4 address, the
// first 48 of an IPv6 address. It is empty for a request without an address.
func Network(from netip.Addr) string {
	from = from.Unmap().WithZone("")
	bits := 48
	if from.Is4() {
		bits = 24
	}
	prefix, err := from.Prefix(bits)
	if err != nil || !from.IsValid() {
		return ""
	}
	return prefix.String()
}
