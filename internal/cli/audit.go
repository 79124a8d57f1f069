package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
)

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check that nothing was changed, removed or inserted."`
	Export auditExportCmd `cmd:"" help:"Write the records and their signed heads as lines of JSON."`
	Tail   auditTailCmd   `cmd:"" help:"Print the last records, and new ones as they come."`
}

type auditVerifyCmd struct {
	operator
	File   string   `arg:"" optional:"" help:"An export; - for standard input. Without it, the log of the running issuer is checked."`
	JWKS   []string `name:"jwks" placeholder:"FILE|URL" help:"The issuer's keys, a JWK Set. Needed with a file; without one, the issuer is asked for them."`
	Heads  []string `placeholder:"FILE" help:"Signed heads that were kept elsewhere, such as a copy of audit.heads_file."`
	Issuer []string `placeholder:"URL" help:"The issuer that the export must be of. Repeat it for each URL that the issuer had."`
}

func (*auditVerifyCmd) Help() string {
	return `The exit code is 0 if the log is whole, 1 with the first record that is wrong, and 3 if that cannot be known: no issuer answers,
the export ends early, or it is a part. Only a head that was kept elsewhere shows that the end of the log was cut:

    issuer audit verify
    issuer audit verify --config /etc/issuer/issuer.yaml --heads /mnt/elsewhere/audit-heads.jsonl
    issuer audit verify audit.jsonl --jwks audit-keys.json`
}

func (c *auditVerifyCmd) Run(ctx context.Context, s *streams) error {
	cfg := audit.VerifyConfig{Issuers: c.Issuer, Keys: make(map[string]jose.Key)}
	for _, name := range c.Heads {
		heads, err := readHeads(name)
		if err != nil {
			return usage("--heads: %w", err)
		}
		cfg.Heads = append(cfg.Heads, heads...)
	}
	for _, name := range c.JWKS {
		text, err := readKeys(ctx, name)
		if err != nil {
			return err
		}
		if err := addKeys(cfg.Keys, text); err != nil {
			return usage("--jwks %s: %w", name, err)
		}
	}
	log, err := c.open(ctx, s, cfg.Keys)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // it was read
	report, err := audit.Verify(log, cfg)
	if fault := (*audit.Fault)(nil); errors.As(err, &fault) {
		return refused("%w", fault)
	} else if err != nil {
		return unknown("%w", err)
	}
	if c.JSON {
		if err := printJSON(s, report); err != nil {
			return err
		}
	} else {
		report.Print(s.out)
	}
	if report.Partial {
		return unknown("the export is a part of the log: each record in it is as it was written, but whether others are missing " +
			"cannot be known")
	}
	return nil
}

// open opens the log that is to be checked. Without a file it is that of the running issuer, whose keys are added if none were given.
func (c *auditVerifyCmd) open(ctx context.Context, s *streams, keys map[string]jose.Key) (io.ReadCloser, error) {
	if c.File != "" && len(c.JWKS) == 0 {
		return nil, usage("a file is checked with --jwks: the keys that `issuer audit export --keys FILE` wrote, or the issuer's jwks_uri")
	}
	switch c.File {
	case "":
	case "-":
		return io.NopCloser(s.in), nil
	default:
		f, err := os.Open(c.File)
		if err != nil {
			return nil, usage("%w", err)
		}
		return f, nil
	}
	socket, err := c.socket(s)
	if err != nil {
		return nil, err
	}
	if len(c.JWKS) == 0 {
		set, err := socket.AuditKeys(ctx)
		if err != nil {
			return nil, explain(socket, err)
		}
		if err := addKeys(keys, set); err != nil {
			return nil, unknown("the issuer's keys: %w", err)
		}
	}
	log, err := socket.Audit(ctx, nil)
	return log, explain(socket, err)
}

// addKeys adds the keys of a JWK Set.
func addKeys(to map[string]jose.Key, set []byte) error {
	keys, err := jose.KeysByKid(set)
	maps.Copy(to, keys)
	return err
}

// maxKeySet is how many bytes a JWK Set may have.
const maxKeySet = 1 << 20

// readKeys reads a JWK Set from a file or from an https URL, which the operator named: it may be in any network.
func readKeys(ctx context.Context, name string) ([]byte, error) {
	if !strings.HasPrefix(name, "https://") {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, usage("--jwks: %w", err)
		}
		return text, nil
	}
	c, err := fetch.NewClient(fetch.Policy{
		MaxBody: maxKeySet, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, name, nil)
	if err != nil {
		return nil, usage("--jwks: %w", err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, unknown("--jwks: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if resp.StatusCode != http.StatusOK {
		return nil, unknown("--jwks: %s answers %s", name, resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, unknown("--jwks: %w", err)
	}
	return text, nil
}

// maxHeads is how many signed heads are read from a file: one an hour for a hundred years.
const maxHeads = 1_000_000

// readHeads reads the signed heads of a file: lines as in an export, or tokens alone. Other lines of an export are left out.
func readHeads(name string) (list []string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was read
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, audit.MaxLine)
	for n := 1; lines.Scan(); n++ {
		head, err := audit.HeadOf(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		if head == "" {
			continue
		}
		if list = append(list, head); len(list) > maxHeads {
			return nil, fmt.Errorf("%s has more than %d heads: give the last ones", name, maxHeads)
		}
	}
	return list, lines.Err()
}

type auditExportCmd struct {
	operator
	To     string    `short:"o" placeholder:"FILE" help:"The file to write. It must not exist. Without it, the export goes to standard output."`
	Keys   string    `placeholder:"FILE" help:"Also write the keys that ever signed heads to this file, a JWK Set for issuer audit verify."`
	Since  time.Time `placeholder:"TIME" help:"Only records from this time on, such as 2026-03-14T00:00:00Z."`
	Until  time.Time `placeholder:"TIME" help:"Only records before this time."`
	User   string    `placeholder:"ID" help:"Only records about this user."`
	Domain string    `placeholder:"NAME" help:"Domain of the user; not needed if the issuer serves only one."`
}

func (*auditExportCmd) Help() string {
	return `A whole export can be checked anywhere. One with --since, --until or --user is a part: each of its records can be checked by itself,
but not whether others are missing:

    issuer audit export --to audit.jsonl --keys audit-keys.json
    issuer audit export --user 7kHb3h043lahTHszoAokdg --since 2026-03-01T00:00:00Z`
}

func (c *auditExportCmd) Run(ctx context.Context, s *streams) (err error) {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	if c.Keys != "" {
		set, err := socket.AuditKeys(ctx)
		if err != nil {
			return explain(socket, err)
		}
		if err := os.WriteFile(c.Keys, append(set, '\n'), 0o600); err != nil {
			return usage("--keys: %w", err)
		}
	}
	query := make(url.Values)
	for name, at := range map[string]time.Time{"since": c.Since, "until": c.Until} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	for name, value := range map[string]string{"user": c.User, "domain": c.Domain} {
		if value != "" {
			query.Set(name, value)
		}
	}
	log, err := socket.Audit(ctx, query)
	if err != nil {
		return explain(socket, err)
	}
	defer func() { _ = log.Close() }() // it was read
	if c.To == "" {
		return copyExport(s.out, log)
	}
	f, err := os.OpenFile(c.To, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usage("--to: %w", err)
	}
	err = copyExport(f, log)
	if failed := errors.Join(f.Sync(), f.Close()); err == nil && failed != nil {
		err = usage("--to: %w", failed)
	}
	if err == nil {
		fmt.Fprintf(s.out, "Wrote %s.\n", c.To)
	}
	return err
}

// copyExport copies an export. The error says so if it ends early.
func copyExport(to io.Writer, from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, audit.MaxLine)
	out, ended := bufio.NewWriter(to), false
	for lines.Scan() {
		ended = audit.IsEnd(lines.Text())
		_, _ = out.Write(append(lines.Bytes(), '\n')) // Flush returns the error
	}
	if err := out.Flush(); err != nil {
		return usage("write the export: %w", err)
	}
	if err := lines.Err(); err != nil || !ended {
		return unknown("%w", errors.Join(audit.ErrCut, err))
	}
	return nil
}

type auditTailCmd struct {
	operator
	Lines int  `short:"n" default:"10" placeholder:"N" help:"How many of the last records of each chain to print first (${default})."`
	Once  bool `help:"End after these, instead of waiting for new ones."`
}

func (*auditTailCmd) Help() string {
	return `It prints the records, each a line of JSON. If the issuer does not answer, it says so once, and goes on when it answers again:

    issuer audit tail
    issuer audit tail -n 100 --once --config /etc/issuer/issuer.yaml`
}

// tailEvery is how often the issuer is asked for new records.
const tailEvery = time.Second

func (c *auditTailCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	t := tail{socket: socket, out: s.out, last: make(map[string]int64)}
	if err := t.begin(ctx, max(c.Lines, 0)); err != nil {
		return explain(socket, err)
	}
	waiting := false
	for !c.Once {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tailEvery):
		}
		err := t.next(ctx)
		var refusal *client.Error
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			waiting = false
		case errors.As(err, &refusal) && refusal.Status < http.StatusInternalServerError:
			return explain(socket, err)
		case !waiting:
			waiting = true
			fmt.Fprintf(s.err, "issuer: audit tail: %v: waiting until it answers\n", root(err))
		}
	}
	return nil
}

// A tail prints the records of all chains as they come.
type tail struct {
	socket client.Admin
	out    io.Writer
	last   map[string]int64 // the number of the last printed record, by node
}

// begin prints the last n records of each chain.
func (t *tail) begin(ctx context.Context, n int) error {
	chains, err := t.chains(ctx)
	if err != nil {
		return err
	}
	for _, node := range slices.Sorted(maps.Keys(chains)) {
		t.last[node] = max(chains[node]-int64(n), 0)
		if err := t.follow(ctx, node); err != nil {
			return err
		}
	}
	return nil
}

// next prints the new records.
func (t *tail) next(ctx context.Context) error {
	chains, err := t.chains(ctx)
	if err != nil {
		return err
	}
	for _, node := range slices.Sorted(maps.Keys(chains)) {
		if chains[node] > t.last[node] {
			if err := t.follow(ctx, node); err != nil {
				return err
			}
		}
	}
	return nil
}

// chains returns the number of the last record of each chain.
func (t *tail) chains(ctx context.Context) (map[string]int64, error) {
	list, err := t.socket.AuditChains(ctx)
	chains := make(map[string]int64)
	for _, c := range list {
		chains[c.Node] = c.Last
	}
	return chains, err
}

// follow prints the records of a chain after the last printed one. What was printed before an error is not printed again.
func (t *tail) follow(ctx context.Context, node string) error {
	query := url.Values{"node": {node}}
	if n := t.last[node]; n > 0 {
		query.Set("after", strconv.FormatInt(n, 10))
	}
	log, err := t.socket.Audit(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // it was read
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, audit.MaxLine)
	for lines.Scan() {
		seq, text, err := audit.RecordOf(lines.Text())
		if err != nil {
			return err
		}
		if seq > t.last[node] {
			if _, err := fmt.Fprintln(t.out, text); err != nil {
				return err
			}
			t.last[node] = seq
		}
	}
	return lines.Err()
}
