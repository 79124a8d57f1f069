package web

// ParseAll parses every page in every language, and returns the number of pages.
func ParseAll() int {
	for _, p := range layouts {
		for _, l := range languages() {
			p.in(l)
		}
	}
	return len(layouts)
}
