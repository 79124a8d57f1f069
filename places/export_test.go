package places

// ReadAnswer reads the addresses in what a place answers.
func ReadAnswer(p Place, body []byte) ([]string, error) { return p.kind.read(&p, body) }
