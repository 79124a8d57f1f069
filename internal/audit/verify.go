package audit

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// A Fault is the first thing that is wrong with an export.
type Fault struct {
	// Line is the number of the line, from 1; zero if the fault is about a head that was kept elsewhere.
	Line int
	// Node and Seq name the record; they are empty if the fault is about none.
	Node string
	Seq  int64
	// Words say what is wrong.
	Words string
}

func (f *Fault) Error() string {
	text := ""
	if f.Line > 0 {
		text = fmt.Sprintf("line %d: ", f.Line)
	}
	if f.Node != "" {
		text += fmt.Sprintf("record %d of %s: ", f.Seq, f.Node)
	}
	return text + f.Words
}

// ErrCut is returned for an export without its last line: the file or the connection ended early.
var ErrCut = errors.New("the export ends early: its last line is missing")

// A VerifyConfig configures [Verify].
type VerifyConfig struct {
	// Issuers are the issuer of the export, and its earlier URLs if it had others: heads may be of each. Empty accepts the one that the
	// export names, to which the keys belong.
	Issuers []string
	// Keys are the keys of the issuer, by kid, also those that it no longer uses.
	Keys map[string]jose.Key
	// Heads are signed heads that were kept elsewhere. The records that they name must be there.
	Heads []string
}

// A Report says what a valid export contains.
type Report struct {
	Issuer string
	Chains []ChainReport
	// Partial says that the export was filtered. Then each record was checked by itself, and whether others are missing is not known.
	Partial bool
}

// A ChainReport is about one chain.
type ChainReport struct {
	Node        string
	First, Last int64
	Records     int64
	// Signed is the number of the last record with a signed head; zero if there is none. Later records could have been written anew by
	// whoever can write the database.
	Signed int64
	// Erased is of how many records the values beside them were erased.
	Erased int64
	// Restored are the numbers of the records that say that a backup was restored.
	Restored []int64
}

// Verify reads an export and checks it: the hash of each record, its number and its place in the chain, the values beside it, and the
// signed heads. The error is a [*Fault] that names the first record that is wrong, [ErrCut], or an error of r.
func Verify(r io.Reader, cfg VerifyConfig) (Report, error) {
	v := verifier{cfg: cfg, elsewhere: make(map[place][32]byte), latest: make(map[string]Head)}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), MaxLine+2)
	lines.Split(splitLines)
	for lines.Scan() {
		v.line++
		if err := v.next(lines.Text()); err != nil {
			return v.report, err
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		v.line++
		return v.report, v.fault("the line has more than %d bytes", MaxLine)
	} else if errors.Is(err, errNoLineFeed) {
		return v.report, ErrCut
	} else if err != nil {
		return v.report, err
	}
	if !v.ended {
		return v.report, ErrCut
	}
	return v.report, v.missing()
}

var errNoLineFeed = errors.New("audit: the last line has no line feed")

// splitLines splits at line feeds alone. Each line must end with one.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	for i, c := range data {
		if c == '\n' {
			return i + 1, data[:i], nil
		}
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errNoLineFeed
	}
	return 0, nil, nil
}

type place struct {
	node string
	seq  int64
}

type verifier struct {
	cfg       VerifyConfig
	line      int
	report    Report
	elsewhere map[place][32]byte // of the heads that were kept elsewhere
	latest    map[string]Head    // the last of them, by node

	started, ended bool
	records, heads int64

	chain  *ChainReport // the chain that is being read
	hash   [32]byte     // of its last record
	seq    int64
	headed bool // that record has a head
}

func (v *verifier) fault(format string, args ...any) *Fault {
	return &Fault{Line: v.line, Words: fmt.Sprintf(format, args...)}
}

func (v *verifier) about(node string, seq int64, format string, args ...any) *Fault {
	return &Fault{Line: v.line, Node: node, Seq: seq, Words: fmt.Sprintf(format, args...)}
}

func (v *verifier) next(text string) error {
	if v.ended {
		return v.fault("there is a line after the last one")
	}
	l, err := readLine(text)
	if err != nil {
		if v.chain != nil {
			return v.fault("after record %d of %s: %v", v.seq, v.chain.Node, err)
		}
		return v.fault("%v", err)
	}
	switch {
	case !v.started && l.start == nil:
		return v.fault("the first line of the export is missing")
	case l.start != nil && v.started:
		return v.fault("another export begins here")
	case l.start != nil:
		return v.begin(l.start)
	case l.record != nil:
		return v.record(l.record)
	case l.end != nil:
		if v.ended = true; l.end.records != v.records || l.end.heads != v.heads {
			return v.fault("the export had %d records and %d heads, and has %d and %d", l.end.records, l.end.heads, v.records, v.heads)
		}
		return nil
	}
	return v.head(l.head)
}

// begin reads the first line, and the heads that were kept elsewhere.
func (v *verifier) begin(s *start) error {
	v.started = true
	if len(v.cfg.Issuers) == 0 {
		v.cfg.Issuers = []string{s.issuer}
	} else if !slices.Contains(v.cfg.Issuers, s.issuer) {
		return v.fault("it is an export of %s, not of %s", s.issuer, strings.Join(v.cfg.Issuers, " or "))
	}
	v.report.Issuer, v.report.Partial = s.issuer, s.filter != Filter{}
	for i, token := range v.cfg.Heads {
		h, err := readHead(token, v.cfg.Issuers, v.cfg.Keys)
		if err != nil {
			return &Fault{Words: fmt.Sprintf("head %d of those kept elsewhere: %v", i+1, err)}
		}
		at := place{h.Node, h.Seq}
		if other, twice := v.elsewhere[at]; twice && other != h.Hash {
			return &Fault{
				Node: h.Node, Seq: h.Seq, Words: "two signed heads that were kept elsewhere contradict each other: the chain was forked",
			}
		}
		v.elsewhere[at] = h.Hash
		if h.Seq >= v.latest[h.Node].Seq {
			v.latest[h.Node] = h
		}
	}
	return nil
}

// record checks the next record.
func (v *verifier) record(r *exported) error {
	if sha256.Sum256([]byte(r.Record)) != r.Hash {
		return v.about(r.Node, r.Seq, "its bytes do not have its hash: one of them was changed")
	}
	switch {
	case r.private == "" && r.Private != nil:
		return v.about(r.Node, r.Seq, "values are beside it, and it has no commitment to any")
	case r.Private != nil && !hmac.Equal([]byte(commit(r.Private[:saltSize], r.Private[saltSize:])), []byte(r.private)):
		return v.about(r.Node, r.Seq, "the values beside it were changed: they do not have its commitment")
	}
	if c := v.chain; c == nil || c.Node != r.Node {
		if c != nil && r.Node < c.Node {
			return v.about(r.Node, r.Seq, "it is out of order: the chains are in the order of their names")
		}
		v.open(r.Node)
		if !v.report.Partial && (r.Seq != 1 || r.prev != [32]byte{}) {
			return v.about(r.Node, r.Seq, "the records before it are missing, and no signed head says that they were removed")
		}
	} else if err := v.follows(r); err != nil {
		return err
	}
	if want, ok := v.elsewhere[place{r.Node, r.Seq}]; ok && want != r.Hash {
		return v.about(r.Node, r.Seq, "it is another record than the one of a signed head that was kept elsewhere: the chain was "+
			"rewritten, or a backup was restored")
	}
	c := v.chain
	if c.Records == 0 {
		c.First = r.Seq
	}
	c.Last, c.Records = r.Seq, c.Records+1
	if r.private != "" && r.Private == nil {
		c.Erased++
	}
	if r.event == BackupRestored.String() {
		c.Restored = append(c.Restored, r.Seq)
	}
	v.records++
	v.seq, v.hash, v.headed = r.Seq, r.Hash, false
	return nil
}

// follows checks that a record comes after the last one of its chain.
func (v *verifier) follows(r *exported) error {
	switch {
	case r.Seq == v.seq:
		return v.about(r.Node, r.Seq, "it is there twice")
	case r.Seq < v.seq:
		return v.about(r.Node, r.Seq, "it is out of order: it comes after record %d", v.seq)
	case v.report.Partial && r.Seq > v.seq+1:
		return nil
	case r.Seq == v.seq+2:
		return v.about(r.Node, v.seq+1, "it is missing")
	case r.Seq > v.seq+1:
		return v.about(r.Node, v.seq+1, "it is missing, and so are those up to %d", r.Seq-1)
	case r.prev != v.hash:
		return v.about(r.Node, v.seq, "it is not the record that record %d comes after: one of the two was changed", r.Seq)
	}
	return nil
}

// open begins a chain.
func (v *verifier) open(node string) {
	v.report.Chains = append(v.report.Chains, ChainReport{Node: node})
	v.chain = &v.report.Chains[len(v.report.Chains)-1]
	v.seq, v.hash, v.headed = 0, [32]byte{}, false
}

// head checks a signed head: it is of the record before it or, where a chain begins, of the last one that was removed.
func (v *verifier) head(token string) error {
	h, err := readHead(token, v.cfg.Issuers, v.cfg.Keys)
	if err != nil {
		if v.chain != nil {
			return v.about(v.chain.Node, v.seq, "the head after it is not valid: %v", err)
		}
		return v.fault("the head is not valid: %v", err)
	}
	v.heads++
	switch c := v.chain; {
	case c == nil || h.Node > c.Node:
		v.open(h.Node)
		v.chain.First, v.chain.Last = h.Seq+1, h.Seq
		v.seq, v.hash = h.Seq, h.Hash
	case h.Node < c.Node:
		return v.about(h.Node, h.Seq, "its head is out of order")
	case v.headed:
		return v.about(h.Node, h.Seq, "the head of record %d comes after it, where no head may be", h.Seq)
	case h.Seq > v.seq:
		return v.about(h.Node, v.seq+1, "it is missing: a signed head says that record %d was there", h.Seq)
	case h.Seq < v.seq:
		return v.about(h.Node, h.Seq, "its head is out of order: it comes after record %d", v.seq)
	case h.Hash != v.hash:
		return v.about(h.Node, h.Seq, "it is not the record of its signed head: it was changed, or those before it")
	}
	v.headed, v.chain.Signed = true, h.Seq
	return nil
}

// missing returns a fault if a head that was kept elsewhere is of a record beyond the end.
func (v *verifier) missing() error {
	if v.report.Partial {
		return nil
	}
	last := make(map[string]int64)
	for _, c := range v.report.Chains {
		last[c.Node] = c.Last
	}
	for _, node := range sortedKeys(v.latest) {
		if h := v.latest[node]; h.Seq > last[node] {
			return &Fault{Node: node, Seq: last[node] + 1, Words: fmt.Sprintf("it is missing: the end of the chain was cut, or an older "+
				"backup was restored. A signed head that was kept elsewhere says that record %d was there", h.Seq)}
		}
	}
	return nil
}

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) {
	for _, c := range r.Chains {
		switch {
		case c.Records == 0:
			fmt.Fprintf(w, "%s: no records after number %d, which was removed.\n", c.Node, c.Last)
		case r.Partial:
			fmt.Fprintf(w, "%s: %d records from number %d to %d are as they were written.\n", c.Node, c.Records, c.First, c.Last)
		case c.First > 1:
			fmt.Fprintf(w, "%s: records %d to %d are whole; those before were removed at a signed head.\n", c.Node, c.First, c.Last)
		default:
			fmt.Fprintf(w, "%s: records 1 to %d are whole.\n", c.Node, c.Last)
		}
		if n := c.Last - c.Signed; n > 0 && !r.Partial {
			fmt.Fprintf(w, "%s: the last %d have no signed head yet.\n", c.Node, n)
		}
		if c.Erased > 0 {
			fmt.Fprintf(w, "%s: what %d of them said of a person was erased.\n", c.Node, c.Erased)
		}
		for _, n := range c.Restored {
			fmt.Fprintf(w, "%s: record %d says that a backup was restored: what was recorded since the backup may be missing.\n", c.Node, n)
		}
	}
	if len(r.Chains) == 0 {
		fmt.Fprintln(w, "There are no records.")
	}
}
