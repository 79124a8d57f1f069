package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/types/api"
)

// maxMoveFaults is how many faults of the moves one answer names.
const maxMoveFaults = 20

// relinkRefused refuses moves, and says what is wrong with them.
func relinkRefused(faults account.MoveFaults) error {
	faults = slices.Clone(faults)
	slices.SortStableFunc(faults, func(a, b account.MoveFault) int { return cmp.Compare(a.Line, b.Line) })
	words := fmt.Sprintf("%v\nNothing was changed.", faults)
	if more := len(faults) - maxMoveFaults; more > 0 {
		words = fmt.Sprintf("%v\nand %d more. Nothing was changed.", faults[:maxMoveFaults], more)
	}
	return httpapi.Conflict("relink_refused", words)
}

// relink serves POST /admin/links?domain=…&dry_run=true. The body has a line of JSON for each link to move.
func (a *API) relink(c echo.Context) error {
	domain, err := a.servedDomain(c)
	if err != nil {
		return err
	}
	dry, err := flag(c, "dry_run")
	if err != nil {
		return err
	}
	text, err := httpapi.ReadAll(c, api.MaxMap)
	if err != nil {
		return err
	}
	moves, faults := readMoves(text)
	if len(faults) > 0 {
		return relinkRefused(faults)
	}
	if len(moves) == 0 {
		return httpapi.Invalid("The file has no lines.")
	}
	done, err := a.Accounts.Relink(c.Request().Context(), domain, moves, dry)
	if errors.As(err, &faults) {
		return relinkRefused(faults)
	} else if err != nil {
		return err
	}
	answer := api.Relinked{Domain: domain, DryRun: dry, Moves: make([]api.Move, 0, len(done))}
	for _, m := range done {
		if iss := m.To.Issuer; !slices.Contains(a.Providers, iss) && !slices.Contains(answer.Unknown, iss) {
			answer.Unknown = append(answer.Unknown, iss)
		}
		answer.Moves = append(answer.Moves, api.Move{
			Line: m.Line, User: m.User, Former: m.Former, From: api.Subject(m.From), To: api.Subject(m.To),
		})
	}
	return c.JSON(http.StatusOK, answer)
}

// readMoves reads a line of JSON for each move. It returns the faults of all lines.
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
