package config

// Registration reads what a client may do that is not among the settings: a JSON object with the members of an entry of
// clients, held to the same rules, as if it stood among the settings c. Its secret is not in it; secret is the SHA-256 of
// that, zero for a client without. The error is of type [Errors]; their paths begin at the object.
func (c *Config) Registration(data []byte, secret [32]byte) (Client, error) {
	d := newDecoder("registration")
	var client Client
	if root := d.document(data); root != nil {
		d.decode(root, &client)
		if !d.bad[""] {
			if _, ok := d.where["secret_sha256"]; ok {
				d.report("secret_sha256", "cannot be set here: the issuer makes the secret")
			}
			client.SecretSHA256 = secret
			(&checker{decoder: d, Config: &Config{Development: c.Development, Domains: c.Domains}}).client(&client, "")
		}
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return Client{}, d.errs
	}
	return client, nil
}
