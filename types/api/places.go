package api

// A PlacesProfile is the profile of a user's places, as the user has stored it: the answer to GET and PUT /me/profile.
type PlacesProfile struct {
	Profile string `json:"profile"` // an Ariadne Signature Profile
	// Address is what each place shows. It is absent at an issuer that no address can name: one at a port or an IP address.
	Address string `json:"address,omitempty"`
	URL     string `json:"url"` // where others get the profile
}
