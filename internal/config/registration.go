package config

// Registration reads the registration of a client that is not in the settings: a JSON object with the members of an entry of
// clients, checked by the same rules, as if it were in the settings c. The client's secret is not in it: secret is its SHA-256,
// zero for a client without a secret. The error is of type [Errors], with paths that start at the object.
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
			(&checker{decoder: d, Config: &Config{Development: c.Development, Domains: c.Domains, Signing: c.Signing}}).client(&client, "")
		}
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return Client{}, d.errs
	}
	return client, nil
}
