package gateway

// Kept returns how many tokens and devices the verifier keeps, and how many bytes it counts for the tokens.
func (v *Verifier) Kept() (tokens, devices, bytes int) {
	v.tokens.mu.RLock()
	defer v.tokens.mu.RUnlock()
	for _, generation := range []map[[32]byte]slot[*token]{v.tokens.young, v.tokens.old} {
		for _, s := range generation {
			bytes += s.size
		}
	}
	v.devices.mu.RLock()
	defer v.devices.mu.RUnlock()
	return len(v.tokens.young) + len(v.tokens.old), len(v.devices.young) + len(v.devices.old), bytes
}

// SetBounds has the feed drop expired revocations at the next event that makes more than least, and keep at most most.
func (f *Feed) SetBounds(least, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.minSweep, f.most = least, most
}
