package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/jose"
)

// AdminRelinked is what became of links, or would become of them.
type AdminRelinked struct {
	Domain string      `json:"domain"`
	DryRun bool        `json:"dry_run"`
	Moves  []AdminMove `json:"moves"`
	// Unknown are the issuers of new accounts that no provider of the settings has: nobody can sign in there yet.
	Unknown []string `json:"unknown_issuers,omitempty"`
}

// AdminMove is one link that was moved.
type AdminMove struct {
	Line   int          `json:"line"`
	User   string       `json:"user"`
	Former string       `json:"former_user,omitempty"` // who had the link, if that was another user
	From   AdminSubject `json:"from"`
	To     AdminSubject `json:"to"`
}

// AdminSubject is an account at an OpenID provider.
type AdminSubject struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}

// MaxMap is how many bytes a file of moves may have.
const MaxMap = 256 << 10

// How many faults of a file one answer names.
const maxMoveFaults = 20

// relinkRefused says to an operator what is wrong with a file of moves.
type relinkRefused struct{ faults account.MoveFaults }

func (e *relinkRefused) Error() string { return "server: relink refused: " + e.words() }

func (e *relinkRefused) words() string {
	faults := slices.Clone(e.faults)
	slices.SortStableFunc(faults, func(a, b account.MoveFault) int { return cmp.Compare(a.Line, b.Line) })
	if more := len(faults) - maxMoveFaults; more > 0 {
		return fmt.Sprintf("%v\nand %d more. Nothing was changed.", faults[:maxMoveFaults], more)
	}
	return fmt.Sprintf("%v\nNothing was changed.", faults)
}

// relink serves POST /admin/links?domain=…&dry_run=true. The body is lines of JSON, one for each link to move.
func (s *Server) relink(c echo.Context) error {
	domain, err := s.servedDomain(c)
	if err != nil {
		return err
	}
	dry, err := flag(c, "dry_run")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, MaxMap))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return &tooLarge{}
	} else if err != nil {
		return invalid("The body is incomplete.")
	}
	moves, faults := readMoves(text)
	if len(faults) > 0 {
		return &relinkRefused{faults}
	}
	if len(moves) == 0 {
		return invalid("The file has no lines.")
	}
	done, err := s.Accounts.Relink(c.Request().Context(), domain, moves, dry)
	if errors.As(err, &faults) {
		return &relinkRefused{faults}
	} else if err != nil {
		return err
	}
	answer := AdminRelinked{Domain: domain, DryRun: dry, Moves: make([]AdminMove, 0, len(done))}
	known := make(map[string]bool)
	for _, provider := range s.Logins {
		known[provider.Issuer()] = true
	}
	for _, m := range done {
		if !known[m.To.Issuer] {
			known[m.To.Issuer] = true
			answer.Unknown = append(answer.Unknown, m.To.Issuer)
		}
		answer.Moves = append(answer.Moves, AdminMove{m.Line, m.User, m.Former, AdminSubject(m.From), AdminSubject(m.To)})
		if !dry {
			s.Log.Info("audit: link moved", slog.String("user", m.User), slog.String("domain", domain), slog.String("former_user", m.Former),
				slog.String("from_iss", m.From.Issuer), slog.String("from_sub", m.From.Subject),
				slog.String("to_iss", m.To.Issuer), slog.String("to_sub", m.To.Subject))
		}
	}
	return c.JSON(http.StatusOK, answer)
}

// readMoves reads a line of JSON for each move. What is wrong with one does not hide what is wrong with another.
func readMoves(text []byte) (moves []account.Move, faults account.MoveFaults) {
	text = bytes.TrimSuffix(text, []byte("\n"))
	if len(text) == 0 {
		return nil, nil
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		m, err := readMove(line)
		if err != nil {
			faults = append(faults, account.MoveFault{Line: i + 1, Words: err.Error()})
		}
		m.Line = i + 1
		moves = append(moves, m)
	}
	return moves, faults
}

var errMoveForm = errors.New(`is not of the form {"from": {"iss": "…", "sub": "…"}, "to": {"iss": "…", "sub": "…"}}, ` +
	`where "user": "ID" may stand in the place of "from" or of "to"`)

func readMove(line []byte) (m account.Move, err error) {
	var members int
	err = jose.Object(line, func(name string, value []byte) (err error) {
		members++
		switch name {
		case "from":
			m.From, err = readSubject(value)
		case "to":
			m.To, err = readSubject(value)
		case "user":
			if m.User, err = jose.String(value); m.User == "" {
				err = errMoveForm
			}
		default:
			err = errMoveForm
		}
		return err
	})
	if err != nil || members != 2 {
		return m, errMoveForm
	}
	return m, nil
}

func readSubject(raw json.RawMessage) (s account.Subject, err error) {
	err = jose.Object(raw, func(name string, value []byte) (err error) {
		switch name {
		case "iss":
			s.Issuer, err = jose.String(value)
		case "sub":
			s.Subject, err = jose.String(value)
		default:
			err = errMoveForm
		}
		return err
	})
	// OpenID Connect Core §2: a sub has at most 255 characters.
	if err != nil || s.Issuer == "" || s.Subject == "" || len(s.Subject) > 255 {
		return s, errMoveForm
	}
	return s, nil
}
