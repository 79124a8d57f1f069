package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/imidentity/issuer/internal/secretfile"
)

// minPassphrase is how many bytes a new passphrase has at least.
const minPassphrase = 8

// passphraseFlag says where the passphrase of a key file comes from.
type passphraseFlag struct {
	PassphraseFile string `placeholder:"FILE" help:"File with the passphrase of the keys, in its first line; - reads it from standard input. Without it, you are asked."`
}

// ask returns the passphrase.
func (p *passphraseFlag) ask(s *streams) ([]byte, error) {
	return s.passphrase(p.PassphraseFile, "--passphrase-file", "Passphrase: ")
}

// askNew returns a passphrase for a new box. A person is asked twice.
func (p *passphraseFlag) askNew(s *streams) ([]byte, error) {
	return s.newPassphrase(p.PassphraseFile, "--passphrase-file")
}

func (s *streams) newPassphrase(file, flag string) ([]byte, error) {
	text, err := s.passphrase(file, flag, "New passphrase: ")
	switch {
	case err != nil:
		return nil, err
	case len(text) < minPassphrase:
		return nil, usage("the passphrase must have at least %d characters", minPassphrase)
	case file != "":
		return text, nil
	}
	again, err := s.passphrase(file, flag, "Again: ")
	if err == nil && !bytes.Equal(text, again) {
		err = usage("the two passphrases differ")
	}
	return text, err
}

// passphrase returns the first line of a file, which nobody else may read, or asks for it at the terminal. An argument or a variable would
// be seen by others on the machine.
func (s *streams) passphrase(file, flag, prompt string) ([]byte, error) {
	switch file {
	case "":
		text, err := atTerminal(prompt)
		if err != nil {
			return nil, usage("there is no terminal to ask for the passphrase at (%w): give %s FILE, or - for standard input", err, flag)
		}
		return text, nil
	case "-":
		line, err := readLine(s.in)
		if err != nil {
			return nil, usage("read the passphrase: %w", err)
		}
		return []byte(line), nil
	}
	text, err := secretfile.Read(file)
	if err != nil {
		return nil, usage("%s: %w", flag, err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return nil, usage("%s: the first line of %s is empty", flag, file)
	}
	return line, nil
}

// atTerminal asks at the terminal of the process, without showing the answer.
func atTerminal(prompt string) (text []byte, err error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tty.Close()) }()
	fmt.Fprint(tty, prompt)
	text, err = term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	return text, err
}
