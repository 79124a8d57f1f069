package admin

import (
	"bufio"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/types/api"
)

// auditBuffer is how many bytes of the audit log are written at a time.
const auditBuffer = 64 << 10

// auditTime is how long the operator's client may take to read a part of the audit log.
const auditTime = 30 * time.Second

// exportAudit serves GET /admin/audit?node=…&after=N&since=…&until=…&domain=…&user=…: the audit log as lines of JSON, or a part of
// it.
func (a *API) exportAudit(c echo.Context) error {
	f, err := a.auditFilter(c)
	if err != nil {
		return err
	}
	w := c.Response()
	w.Header().Set("Content-Type", api.TypeLines)
	control := http.NewResponseController(w.Writer)
	deadline := func() error { return control.SetWriteDeadline(time.Now().Add(auditTime)) }
	if err := deadline(); err != nil {
		return err
	}
	// An error after the first part ends the answer, and the reader misses the last line.
	out := bufio.NewWriterSize(w, auditBuffer)
	err = a.Audit.Export(c.Request().Context(), out, f, func() error {
		if err := out.Flush(); err != nil {
			return err
		}
		w.Flush()
		return deadline()
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

func (a *API) auditFilter(c echo.Context) (f audit.Filter, err error) {
	f.Node, f.User = c.QueryParam("node"), c.QueryParam("user")
	if text := c.QueryParam("after"); text != "" {
		if f.After, err = strconv.ParseInt(text, 10, 64); err != nil || f.After < 0 || f.Node == "" {
			return f, httpapi.Invalid("The parameter after must be the number of a record, and goes with node.")
		}
	}
	for name, to := range map[string]*string{"since": &f.Since, "until": &f.Until} {
		if text := c.QueryParam(name); text != "" {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return f, httpapi.Invalid("The parameter " + name + " must be a time such as 2026-03-14T15:09:26Z.")
			}
			*to = audit.FormatTime(at)
		}
	}
	if f.User != "" {
		f.Domain, err = a.domain(c)
	}
	return f, err
}

// auditKeys serves GET /admin/audit/keys: the public keys that ever signed heads of the audit log, as a JWK Set.
func (a *API) auditKeys(c echo.Context) error {
	set, err := a.Audit.KeySet(c.Request().Context())
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "application/jwk-set+json", set)
}

// auditChains serves GET /admin/audit/chains: the last record of each chain.
func (a *API) auditChains(c echo.Context) error {
	chains, err := a.Audit.Chains(c.Request().Context())
	if err != nil {
		return err
	}
	list := make([]api.AuditChain, len(chains))
	for i, h := range chains {
		list[i] = api.AuditChain{Node: h.Node, Last: h.Seq, Hash: hex.EncodeToString(h.Hash[:])}
	}
	return c.JSON(http.StatusOK, list)
}
