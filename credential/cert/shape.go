package cert

import (
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
)

// A Shape is a kind of certificate that a domain's CA issues. Its value is the name of the credential configuration (OpenID4VCI 1.0
// §12.2.4).
type Shape string

// The shapes. The handle is left out if the identity has none.
const (
	Combined   Shape = "im-device-x5c"      // device, user and handle
	DeviceOnly Shape = "im-device-only-x5c" // device
	UserOnly   Shape = "im-user-x5c"        // user and handle, to sign the profile
	UserCA     Shape = "im-user-ca-x5c"     // user and handle, and the key certifies devices (see SignDevice)
)

// Shapes lists all shapes.
var Shapes = []Shape{Combined, DeviceOnly, UserOnly, UserCA}

var errShape = errors.New("cert: no such shape")

// identity returns the identifiers that a certificate of the shape states. The error says which one is missing.
func (s Shape) identity(id claims.Identity) (claims.Identity, error) {
	switch s {
	case Combined:
	case DeviceOnly:
		id = claims.Identity{Device: id.Device}
	case UserOnly, UserCA:
		id.Device = claims.ID{}
	default:
		return claims.Identity{}, errShape
	}
	switch {
	case s != DeviceOnly && id.User.IsZero():
		return claims.Identity{}, fmt.Errorf("cert: %s needs a user", s)
	case (s == Combined || s == DeviceOnly) && id.Device.IsZero():
		return claims.Identity{}, fmt.Errorf("cert: %s needs a device", s)
	}
	return id, nil
}

// HasHandle reports whether certificates of the shape state the handle, so that they end with it.
func (s Shape) HasHandle() bool { return s == Combined || s == UserOnly || s == UserCA }
