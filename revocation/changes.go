package revocation

// Changes counts the revocations that were added to the mirror, or replaced there. While it is the same and the mirror is fresh, nothing
// was revoked.
func (m *Mirror) Changes() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.table.changes
}
