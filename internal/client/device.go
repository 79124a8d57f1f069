package client

import (
	"context"
	"errors"
	"net/url"
	"time"
)

// A DeviceFlow is a device authorization in progress (RFC 8628): somebody is to enter its user code elsewhere.
type DeviceFlow struct {
	// UserCode is shown to the user, with VerificationURI, the page to enter it. VerificationURIComplete has the code in it, for a
	// QR code; it may be empty.
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string
	// Expires is when the code expires.
	Expires time.Time

	code     string
	interval time.Duration
}

// GrantDevice is the grant type of RFC 8628 §3.4.
const GrantDevice = "urn:ietf:params:oauth:grant-type:device_code"

const (
	// deviceInterval is the interval where the server names none (RFC 8628 §3.2), and by how much slow_down raises it (§3.5).
	deviceInterval = 5 * time.Second
	// maxDeviceInterval bounds the interval that grows while the server cannot be reached.
	maxDeviceInterval = time.Minute
)

// BeginDevice asks for the codes of a device authorization. Params has further parameters, such as scope.
func (c *Client) BeginDevice(ctx context.Context, params url.Values) (*DeviceFlow, error) {
	if c.Server.DeviceEndpoint == "" {
		return nil, errors.New("client: the issuer has no device authorization endpoint")
	}
	var answer struct {
		DeviceCode              string `json:"device_code"`
		UserCode                string `json:"user_code"`
		VerificationURI         string `json:"verification_uri"`
		VerificationURIComplete string `json:"verification_uri_complete"`
		ExpiresIn               int64  `json:"expires_in"`
		Interval                int64  `json:"interval"`
	}
	if err := c.post(ctx, c.Server.DeviceEndpoint, params, &answer); err != nil {
		return nil, err
	}
	if answer.DeviceCode == "" || answer.UserCode == "" || answer.VerificationURI == "" || answer.ExpiresIn <= 0 {
		return nil, errors.New("client: the answer of the device authorization endpoint lacks a code, the page or the lifetime")
	}
	f := &DeviceFlow{
		UserCode: answer.UserCode, VerificationURI: answer.VerificationURI, VerificationURIComplete: answer.VerificationURIComplete,
		Expires: time.Now().Add(time.Duration(answer.ExpiresIn) * time.Second), code: answer.DeviceCode, interval: deviceInterval,
	}
	if answer.Interval > 0 {
		f.interval = time.Duration(answer.Interval) * time.Second
	}
	return f, nil
}

// FinishDevice polls until somebody has decided about the flow, the code expires or ctx ends (RFC 8628 §3.5). While the server cannot be
// reached, it polls less and less often. Wait waits for a time or until ctx ends.
func (c *Client) FinishDevice(ctx context.Context, f *DeviceFlow, wait func(ctx context.Context, d time.Duration) error) (Tokens, error) {
	interval := f.interval
	for {
		if err := wait(ctx, interval); err != nil {
			return Tokens{}, err
		}
		tokens, err := c.Token(ctx, url.Values{"grant_type": {GrantDevice}, "device_code": {f.code}})
		var refused *Error
		switch {
		case err == nil:
			return tokens, nil
		case ctx.Err() != nil:
			return Tokens{}, err
		case !errors.As(err, &refused), refused.Temporary():
			if interval = min(2*interval, maxDeviceInterval); !time.Now().Before(f.Expires) {
				return Tokens{}, err
			}
		case refused.Code == "authorization_pending":
		case refused.Code == "slow_down":
			interval += deviceInterval
		default:
			return Tokens{}, err
		}
	}
}
