package introspect

// Waiting returns how many questions wait or are being asked.
func (c *Client) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}
