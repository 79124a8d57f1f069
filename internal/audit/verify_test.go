package audit_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

const issuer = "https://id.example.com"

// A signer signs heads with one key.
type signer struct {
	kid string
	key *ecdsa.PrivateKey
}

func newSigner(t testing.TB, kid string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{kid, key}
}

func (s signer) Sign(typ string, claims []byte) (string, error) {
	return jose.Sign(s.key, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":%q}`, typ, s.kid), claims)
}

func (s signer) keys() map[string]jose.Key {
	return map[string]jose.Key{s.kid: {Public: crypto.PublicKey(s.key.Public()), Alg: jose.ES256, Kid: s.kid}}
}

// A log is a database with an audit log, and the book of it.
type auditLog struct {
	*book
	signer signer
	pages  *audit.Book
	now    time.Time
}

func newLog(t *testing.T, change func(*audit.BookConfig)) *auditLog {
	t.Helper()
	l := &auditLog{book: newBook(t, nil), signer: newSigner(t, "k1"), now: noon}
	cfg := audit.BookConfig{Store: l.book, Issuer: issuer, Keys: l.signer, Node: "main", HeadsEvery: time.Hour, Now: func() time.Time { return l.now }}
	if change != nil {
		change(&cfg)
	}
	l.pages = audit.NewBook(cfg)
	return l
}

// acts appends n records.
func (l *auditLog) acts(t *testing.T, n int) {
	t.Helper()
	for range n {
		if err := l.append(t, audit.Event{Kind: audit.DeviceRemoved, Actor: audit.ActorAdmin, Domain: "example.com", User: "u1", Device: "d1", Reason: "lost"}); err != nil {
			t.Fatal(err)
		}
	}
}

func (l *auditLog) export(t *testing.T, f audit.Filter) string {
	t.Helper()
	var out bytes.Buffer
	if err := l.pages.Export(t.Context(), &out, f, nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (l *auditLog) verify(text string, heads ...string) (audit.Report, error) {
	return audit.Verify(strings.NewReader(text), audit.VerifyConfig{Issuers: []string{issuer}, Keys: l.signer.keys(), Heads: heads})
}

// headsOf returns the signed heads of an export.
func headsOf(text string) (list []string) {
	for _, m := range regexp.MustCompile(`(?m)^\{"head":"(.*)"\}$`).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// small is an export of six records and two heads, and lines of it.
func small(t *testing.T) (l *auditLog, text string, lines []string) {
	t.Helper()
	l = newLog(t, nil)
	l.acts(t, 3)
	if err := l.pages.SignHeads(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.acts(t, 3)
	text = l.export(t, audit.Filter{})
	if lines = strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n"); len(lines) != 10 {
		t.Fatalf("the export has %d lines, want 10:\n%s", len(lines), text)
	}
	lines[9] += "\n"
	return l, text, lines
}

func TestVerify(t *testing.T) {
	l, text, _ := small(t)
	r, err := l.verify(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Chains) != 1 || r.Partial || r.Issuer != issuer {
		t.Fatalf("Verify = %+v", r)
	}
	c := r.Chains[0]
	if c.Node != "main" || c.First != 1 || c.Last != 6 || c.Records != 6 || c.Signed != 6 || c.Erased != 0 || c.Restored != nil {
		t.Errorf("Verify = %+v", c)
	}
	if r, err := newLog(t, nil).verify(newLog(t, nil).export(t, audit.Filter{})); err != nil || len(r.Chains) != 0 {
		t.Errorf("Verify of an empty log = %+v, %v", r, err)
	}
}

// Whichever byte of an export is changed, to whatever, it is found. So is each byte that is missing, and each that was inserted.
func TestVerifyEveryByte(t *testing.T) {
	l, text, _ := small(t)
	for i := range len(text) {
		for _, b := range []byte{text[i] ^ 1, text[i] ^ 0x20, '\n'} {
			if b == text[i] {
				continue
			}
			if _, err := l.verify(text[:i] + string(b) + text[i+1:]); err == nil {
				t.Fatalf("byte %d, %q changed to %q: Verify = nil", i, text[i], b)
			}
		}
		if _, err := l.verify(text[:i] + text[i+1:]); err == nil {
			t.Fatalf("without byte %d, %q: Verify = nil", i, text[i])
		}
		if _, err := l.verify(text[:i] + " " + text[i:]); err == nil {
			t.Fatalf("with a space before byte %d: Verify = nil", i)
		}
		if _, err := l.verify(text[:i]); !errors.Is(err, audit.ErrCut) && !errors.As(err, new(*audit.Fault)) {
			t.Fatalf("cut at byte %d: Verify = %v", i, err)
		}
	}
}

// resealed changes a record in an export as somebody would who can write the database: with its hash, those of all later records, and
// the counts, but without the key of the issuer.
func resealed(t *testing.T, lines []string, from int, old, new string) string {
	t.Helper()
	prev, out := "", slices.Clone(lines)
	for i := from; i < len(out); i++ {
		m := regexp.MustCompile(`"record":(\{.*\})\}\n$`).FindStringSubmatch(out[i])
		if m == nil {
			continue
		}
		record := m[1]
		if i == from {
			if record = strings.Replace(record, old, new, 1); record == m[1] {
				t.Fatalf("%s has no %s", record, old)
			}
		} else {
			record = regexp.MustCompile(`"prev":"[0-9a-f]+"`).ReplaceAllString(record, `"prev":"`+prev+`"`)
		}
		sum := sha256.Sum256([]byte(record))
		prev = hex.EncodeToString(sum[:])
		out[i] = regexp.MustCompile(`^\{"hash":"[0-9a-f]+"`).ReplaceAllString(strings.Replace(out[i], m[1], record, 1), `{"hash":"`+prev+`"`)
	}
	return strings.Join(out, "")
}

// The first bad record is named. The lines of the export: 0 begins it, 1 to 3 and 5 to 7 are records, 4 and 8 are heads, 9 ends it.
func TestVerifyFaults(t *testing.T) {
	l, text, lines := small(t)
	foreign, elsewhere := newSigner(t, "k1"), newSigner(t, "k2")
	join := func(list ...string) string { return strings.Join(list, "") }
	counted := func(text string, records, heads int) string {
		return regexp.MustCompile(`\{"heads":.*\n$`).ReplaceAllString(text, fmt.Sprintf(`{"heads":%d,"records":%d}`+"\n", heads, records))
	}
	head := func(s signer, typ, claims string) string {
		token, err := s.Sign(typ, []byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		return `{"head":"` + token + `"}` + "\n"
	}
	hash := regexp.MustCompile(`[0-9a-f]{64}`).FindString(lines[3])
	other := strings.Repeat("ab", 32)
	claims := func(iss string, seq int, hash string) string {
		return fmt.Sprintf(`{"hash":%q,"iat":1,"iss":%q,"node":"main","seq":%d}`, hash, iss, seq)
	}
	for name, test := range map[string]struct {
		text string
		want string
	}{
		"changed": {strings.Replace(text, `"device":"d1"`, `"device":"d2"`, 1), "record 1 of main: its bytes do not have its hash"},
		"changed, with its hash": {resealed(t, lines[:3], 2, "d1", "d2") + join(lines[3:]...),
			"record 2 of main: it is not the record that record 3 comes after"},
		"changed, with all hashes":      {resealed(t, lines, 2, "d1", "d2"), "record 3 of main: it is not the record of its signed head"},
		"last changed, with its hash":   {resealed(t, lines, 7, "d1", "d2"), "record 6 of main: it is not the record of its signed head"},
		"another actor":                 {resealed(t, lines, 1, "admin", "user"), "record 3 of main: it is not the record of its signed head"},
		"values changed":                {strings.Replace(text, `"reason":"lost"`, `"reason":"sold"`, 1), "record 1 of main: the values beside it were changed"},
		"missing":                       {counted(join(lines[0], lines[1], join(lines[3:]...)), 5, 2), "record 2 of main: it is missing"},
		"two missing":                   {counted(join(lines[0], lines[1], join(lines[4:]...)), 4, 2), "record 2 of main: it is missing: a signed head says that record 3"},
		"first missing":                 {counted(join(lines[0], join(lines[2:]...)), 5, 2), "record 2 of main: the records before it are missing"},
		"last missing":                  {counted(join(join(lines[:7]...), lines[8], lines[9]), 5, 2), "record 6 of main: it is missing: a signed head says"},
		"reordered":                     {join(lines[0], lines[2], lines[1], join(lines[3:]...)), "record 2 of main: the records before it are missing"},
		"reordered later":               {join(join(lines[:5]...), lines[6], lines[5], join(lines[7:]...)), "record 4 of main: it is missing"},
		"twice":                         {counted(join(join(lines[:3]...), lines[2], join(lines[3:]...)), 7, 2), "record 2 of main: it is there twice"},
		"once more later":               {counted(join(join(lines[:6]...), lines[1], join(lines[6:]...)), 7, 2), "record 1 of main: it is out of order"},
		"lines missing":                 {join(lines[0], lines[9]), "the export had 6 records and 2 heads, and has 0 and 0"},
		"head missing":                  {join(join(lines[:4]...), join(lines[5:]...)), "the export had 6 records and 2 heads"},
		"head twice":                    {counted(join(join(lines[:5]...), lines[4], join(lines[5:]...)), 6, 3), "the head of record 3 comes after it"},
		"head too early":                {join(join(lines[:3]...), lines[4], lines[3], join(lines[5:]...)), "record 3 of main: it is missing"},
		"head too late":                 {join(join(lines[:4]...), lines[5], lines[4], join(lines[6:]...)), "record 3 of main: its head is out of order"},
		"head of another record":        {join(join(lines[:4]...), head(l.signer, jose.TypeAuditHead, claims(issuer, 3, other)), join(lines[5:]...)), "record 3 of main: it is not the record of its signed head"},
		"head by another key":           {join(join(lines[:4]...), head(foreign, jose.TypeAuditHead, claims(issuer, 3, hash)), join(lines[5:]...)), "its signature does not verify"},
		"head by an unknown key":        {join(join(lines[:4]...), head(elsewhere, jose.TypeAuditHead, claims(issuer, 3, hash)), join(lines[5:]...)), `record 3 of main: the head after it is not valid: it is signed by the unknown key "k2"`},
		"head of another issuer":        {join(join(lines[:4]...), head(l.signer, jose.TypeAuditHead, claims("https://id.example.net", 3, hash)), join(lines[5:]...)), "it is of the issuer https://id.example.net"},
		"another signed object":         {join(join(lines[:4]...), head(l.signer, jose.TypeAccessToken, claims(issuer, 3, hash)), join(lines[5:]...)), "no head of an audit log"},
		"head without a hash":           {join(join(lines[:4]...), head(l.signer, jose.TypeAuditHead, `{"iat":1,"iss":"`+issuer+`","node":"main","seq":3}`), join(lines[5:]...)), "the member hash is not"},
		"another issuer":                {strings.Replace(text, issuer, "https://id.example.net", 1), "line 1: it is an export of https://id.example.net"},
		"no first line":                 {join(lines[1:]...), "line 1: the first line of the export is missing"},
		"two exports":                   {text + text, "there is a line after the last one"},
		"two beginnings":                {lines[0] + text, "line 2: another export begins here"},
		"repeated member":               {strings.Replace(text, `"v":1}`, `"v":1,"v":1}`, 1), "line 1: "},
		"a record of another version":   {resealed(t, lines, 1, `"v":1`, `"v":2`), "the record has version 2"},
		"values without a commitment":   {resealed(t, lines, 1, `"private"`, `"prjvate"`), "record 1 of main: values are beside it"},
		"no number":                     {resealed(t, lines, 1, `"seq":1,`, ``), "the member seq is not a whole number"},
		"a node in the middle":          {resealed(t, lines, 6, `"main"`, `"node"`), "record 5 of node: the records before it are missing"},
		"an earlier node in the middle": {resealed(t, lines, 6, `"main"`, `"early"`), "record 5 of early: it is out of order"},
		"a long line":                   {lines[0] + `{"head":"` + strings.Repeat("a", audit.MaxLine) + `"}` + "\n", "line 2: the line has more than"},
		"an endless line":               {lines[0] + strings.Repeat("a", 3*audit.MaxLine), "line 2: the line has more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := l.verify(test.text)
			var fault *audit.Fault
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Verify = %v, want %q", err, test.want)
			}
		})
	}
	for name, text := range map[string]string{"no last line": join(lines[:9]...), "nothing": "", "no line feed": strings.TrimSuffix(text, "\n")} {
		if _, err := l.verify(text); !errors.Is(err, audit.ErrCut) {
			t.Errorf("%s: Verify = %v, want %v", name, err, audit.ErrCut)
		}
	}
}

// Somebody who can write the database and sign can cut the end, or write it anew. A head that was kept elsewhere shows both.
func TestVerifyHeadsElsewhere(t *testing.T) {
	l, text, lines := small(t)
	heads := headsOf(text)
	if _, err := l.verify(text, heads...); err != nil {
		t.Errorf("Verify = %v", err)
	}
	cut := strings.Join(lines[:5], "") + `{"heads":1,"records":3}` + "\n"
	if _, err := l.verify(cut); err != nil {
		t.Errorf("Verify of a shorter chain = %v: nothing in it shows that", err)
	}
	rewritten := resealed(t, lines[:8], 6, "d1", "d2") + `{"heads":1,"records":6}` + "\n"
	if _, err := l.verify(rewritten); err != nil {
		t.Errorf("Verify of records after the last head = %v: nothing in the export shows that", err)
	}
	for name, test := range map[string]struct{ text, want string }{
		"cut":       {cut, "record 4 of main: it is missing: the end of the chain was cut"},
		"gone":      {lines[0] + `{"heads":0,"records":0}` + "\n", "record 1 of main: it is missing: the end of the chain was cut"},
		"rewritten": {rewritten, "record 6 of main: it is another record than the one of a signed head that was kept elsewhere"},
	} {
		if _, err := l.verify(test.text, heads...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Verify = %v, want %q", name, err, test.want)
		}
	}
	if _, err := l.verify(text, heads[0], heads[0][:len(heads[0])-4]+"AAAA"); err == nil || !strings.Contains(err.Error(), "head 2 of those kept elsewhere") {
		t.Errorf("Verify with a forged head = %v", err)
	}
	token, err := l.signer.Sign(jose.TypeAuditHead, fmt.Appendf(nil, `{"hash":%q,"iat":1,"iss":%q,"node":"main","seq":6}`, strings.Repeat("ab", 32), issuer))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.verify(text, append(heads, token)...); err == nil || !strings.Contains(err.Error(), "contradict each other") {
		t.Errorf("Verify with two branches = %v", err)
	}
}

// A part of the log is checked record by record, and the report says that it is a part.
func TestVerifyPart(t *testing.T) {
	l := newLog(t, nil)
	for _, user := range []string{"u1", "u2", "u1", "u2", "u1"} {
		if err := l.append(t, audit.Event{Kind: audit.UserEnabled, Actor: audit.ActorAdmin, Domain: "example.com", User: user}); err != nil {
			t.Fatal(err)
		}
	}
	whole := l.export(t, audit.Filter{})
	for name, test := range map[string]struct {
		filter audit.Filter
		want   int64
	}{
		"a user":            {audit.Filter{Domain: "example.com", User: "u1"}, 3},
		"another domain":    {audit.Filter{Domain: "example.org", User: "u1"}, 0},
		"since":             {audit.Filter{Since: audit.FormatTime(noon.Truncate(time.Millisecond))}, 5},
		"since later":       {audit.Filter{Since: audit.FormatTime(noon.Add(time.Millisecond))}, 0},
		"until":             {audit.Filter{Until: audit.FormatTime(noon.Add(time.Millisecond))}, 5},
		"until then":        {audit.Filter{Until: audit.FormatTime(noon)}, 0},
		"after":             {audit.Filter{Node: "main", After: 3}, 2},
		"a node":            {audit.Filter{Node: "main"}, 5},
		"another node":      {audit.Filter{Node: "other"}, 0},
		"a user after some": {audit.Filter{Node: "main", After: 1, Domain: "example.com", User: "u1"}, 2},
	} {
		text := l.export(t, test.filter)
		r, err := l.verify(text)
		var records int64
		for _, c := range r.Chains {
			records += c.Records
		}
		if err != nil || !r.Partial || records != test.want {
			t.Errorf("%s: Verify = %+v, %v, want %d records\n%s", name, r, err, test.want, text)
		}
		if test.want > 0 {
			changed := strings.Replace(text, `"event":"user.enabled"`, `"event":"user.removed"`, 1)
			if _, err := l.verify(changed); !errors.As(err, new(*audit.Fault)) {
				t.Errorf("%s: Verify of a changed record = %v", name, err)
			}
		}
		// A part does not pass for the whole.
		if first, _, _ := strings.Cut(whole, "\n"); test.want > 0 && test.want < 5 {
			_, rest, _ := strings.Cut(text, "\n")
			if _, err := l.verify(first + "\n" + rest); err == nil {
				t.Errorf("%s: a part was verified as a whole", name)
			}
		}
	}
}

// Erasure removes what records say of a person, and the chain stays whole.
func TestVerifyErased(t *testing.T) {
	l := newLog(t, nil)
	l.acts(t, 2)
	if err := l.append(t, full); err != nil { // about the same user, with a handle and an address
		t.Fatal(err)
	}
	err := l.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EraseAudit(ctx, "example.com", "u1", 100)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text := l.export(t, audit.Filter{})
	r, err := l.verify(text)
	if err != nil || r.Chains[0].Erased != 3 {
		t.Errorf("Verify = %+v, %v, want 3 erased", r, err)
	}
	for _, secret := range []string{"lost", "alice", "2001:db8::1", "found on a bus"} {
		if strings.Contains(text, secret) {
			t.Errorf("the export has %q:\n%s", secret, text)
		}
	}
}

// The beginning of the chain is cut at a signed head, and the rest is whole. Without that head it is not.
func TestRetention(t *testing.T) {
	l := newLog(t, func(c *audit.BookConfig) { c.Retention = 24 * time.Hour })
	keep := func() {
		t.Helper()
		if err := l.pages.Keep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for day := range 4 {
		l.acts(t, 2+day)
		keep()
		l.now = l.now.Add(18 * time.Hour)
	}
	keep()
	text := l.export(t, audit.Filter{})
	heads := headsOf(text)
	r, err := l.verify(text)
	if err != nil || len(r.Chains) != 1 || r.Chains[0].First != 10 || r.Chains[0].Last != 14 {
		t.Fatalf("Verify = %+v, %v, want records 10 to 14\n%s", r, err, text)
	}
	if _, err := l.verify(text, heads...); err != nil {
		t.Errorf("Verify with heads = %v", err)
	}
	lines := strings.SplitAfter(text, "\n")
	if _, err := l.verify(lines[0] + strings.Join(lines[2:], "")); err == nil || !strings.Contains(err.Error(), "the records before it are missing") {
		t.Errorf("Verify without the head = %v", err)
	}
	l.now = l.now.Add(1000 * time.Hour)
	keep()
	keep()
	if r, err := l.verify(l.export(t, audit.Filter{})); err != nil || r.Chains[0].Last != 14 || r.Chains[0].Records != 5 {
		t.Errorf("Verify = %+v, %v, want the last records to stay", r, err)
	}
	l.acts(t, 1)
	keep()
	if r, err := l.verify(l.export(t, audit.Filter{})); err != nil || r.Chains[0].First != 15 || r.Chains[0].Last != 15 {
		t.Errorf("Verify = %+v, %v, want record 15 alone", r, err)
	}
}

// Heads are signed when it is time and after a thousand records, and each is appended to the file.
func TestHeads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "heads.jsonl")
	l := newLog(t, func(c *audit.BookConfig) { c.HeadsFile = file })
	signed := func(want ...int64) {
		t.Helper()
		if err := l.pages.Keep(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := l.SignedHeads(t.Context(), "main", 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, h := range list {
			got = append(got, h.Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("heads = %v, want %v", got, want)
		}
	}
	signed()
	l.acts(t, 2)
	signed(2)
	l.acts(t, 1)
	signed(2)
	l.now = l.now.Add(time.Hour)
	signed(2, 3)
	signed(2, 3)
	many := make([]audit.Event, 2500)
	for i := range many {
		many[i] = audit.Event{Kind: audit.KeyRotated, Actor: audit.ActorIssuer, Key: "k"}
	}
	if err := l.append(t, many...); err != nil {
		t.Fatal(err)
	}
	signed(2, 3, 1003, 2003)
	if err := l.pages.SignHeads(t.Context()); err != nil {
		t.Fatal(err)
	}
	signed(2, 3, 1003, 2003, 2503)
	text := l.export(t, audit.Filter{})
	if r, err := l.verify(text); err != nil || r.Chains[0].Signed != 2503 {
		t.Errorf("Verify = %+v, %v", r, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := headsOf(string(data)), headsOf(text); !slices.Equal(got, want) {
		t.Errorf("the file has %d heads, want %d", len(got), len(want))
	}
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if head, err := audit.HeadOf(line); err != nil || head != headsOf(text)[i] {
			t.Errorf("HeadOf(%s) = %q, %v", line, head, err)
		}
	}
}

// Chains of several nodes are in one log, each whole by itself.
func TestSeveralNodes(t *testing.T) {
	l := newLog(t, nil)
	second := audit.New(slog.New(slog.DiscardHandler)).Store(l.book.Store, audit.Chain{Node: "another"})
	l.acts(t, 2)
	for range 3 {
		err := second.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return audit.Append(ctx, tx, full) })
		if err != nil {
			t.Fatal(err)
		}
	}
	text := l.export(t, audit.Filter{})
	r, err := l.verify(text, headsOf(text)...)
	if err != nil || len(r.Chains) != 2 || r.Chains[0].Node != "another" || r.Chains[0].Last != 3 || r.Chains[1].Last != 2 {
		t.Errorf("Verify = %+v, %v", r, err)
	}
	chains, err := l.pages.Chains(t.Context())
	if err != nil || len(chains) != 2 || chains[0].Seq != 3 || chains[1].Seq != 2 {
		t.Errorf("Chains = %+v, %v", chains, err)
	}
}

// Whatever is verified was written by Export: no other text of the same log is.
func FuzzVerify(f *testing.F) {
	key := newSigner(f, "k1")
	f.Add(`{"issuer":"https://id.example.com","v":1}` + "\n" + `{"heads":0,"records":0}` + "\n")
	for _, seed := range []string{
		`{"hash":"00","record":{}}`, `{"head":"ey.e.e"}`, `{"after":3,"issuer":"https://id.example.com","node":"main","v":1}`,
		`{"hash":"x","private":{"salt":"00","values":{}},"record":{"event":"e","node":"main","prev":"00","seq":1,"v":1}}`,
	} {
		f.Add(`{"issuer":"https://id.example.com","v":1}` + "\n" + seed + "\n" + `{"heads":0,"records":1}` + "\n")
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := audit.Verify(strings.NewReader(text), audit.VerifyConfig{Keys: key.keys()})
		if err != nil {
			return
		}
		for _, c := range r.Chains {
			if c.Signed != 0 {
				t.Errorf("a head by no key was verified: %+v", c)
			}
		}
		for line := range strings.Lines(text) {
			if line[len(line)-1] != '\n' {
				t.Errorf("the last line of %q has no end", text)
			}
			if again, err := audit.Again(strings.TrimSuffix(line, "\n")); err != nil || again+"\n" != line {
				t.Errorf("the line %q was verified, and is written as %q, %v", line, again, err)
			}
		}
	})
}

// The values beside old records go, by the retention of now; the chain stays whole.
func TestDetailRetention(t *testing.T) {
	l := newLog(t, func(c *audit.BookConfig) { c.DetailRetention = 24 * time.Hour })
	l.acts(t, 250)
	whole := l.export(t, audit.Filter{})
	left := func() int {
		t.Helper()
		if err := l.pages.EraseDetails(t.Context()); err != nil {
			t.Fatal(err)
		}
		text := l.export(t, audit.Filter{})
		if r, err := l.verify(text, headsOf(whole)...); err != nil || r.Chains[0].Records < 250 {
			t.Errorf("Verify = %+v, %v, want 250 records or more", r, err)
		}
		return strings.Count(text, `"salt"`)
	}
	l.now = l.now.Add(24 * time.Hour)
	if n := left(); n != 250 {
		t.Errorf("%d of 250 details are left before their time", n)
	}
	l.now = l.now.Add(time.Second)
	if n := left(); n != 0 {
		t.Errorf("%d details are left after their time", n)
	}
	l.acts(t, 1) // by the clock of the chain, as old as the others
	if n := left(); n != 0 {
		t.Errorf("%d details are left of a record that came later", n)
	}
}
