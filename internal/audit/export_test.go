package audit

// Again reads a line of an export and writes it.
func Again(text string) (string, error) {
	l, err := readLine(text)
	return string(l.appendTo(nil)), err
}
