package jose

import "crypto/ecdsa"

// Prepare makes the table of key now.
func (t *Tables) Prepare(key *ecdsa.PublicKey) error {
	encoded, err := key.Bytes()
	if err == nil {
		t.make(point(encoded))
	}
	return err
}

// VerifyMultiples verifies signature over digest with the multiples of key.
func VerifyMultiples(key *ecdsa.PublicKey, digest, signature []byte) (bool, error) {
	encoded, err := key.Bytes()
	if err != nil {
		return false, err
	}
	m, err := newMultiples(encoded)
	if err != nil {
		return false, err
	}
	return m.verify(digest, signature), nil
}

// Has reports whether key has a table, and does not count as a use.
func (t *Tables) Has(key *ecdsa.PublicKey) bool {
	encoded, err := key.Bytes()
	t.mu.Lock()
	defer t.mu.Unlock()
	return err == nil && t.ready[point(encoded)] != nil
}
