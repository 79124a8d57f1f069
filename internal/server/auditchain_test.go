package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/imidentity/issuer/internal/audit"
)

// unrecorded returns the kinds of events that docs/audit.md says are lines of the log and no records.
func unrecorded(t *testing.T) (kinds []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	sentence := regexp.MustCompile(`These events commit nothing, so they are lines of the log and no records: ([^.]+(?:\.[a-z][^.]*)*)\. `).FindSubmatch(page)
	if sentence == nil {
		t.Fatal("docs/audit.md does not say which events are no records")
	}
	for _, m := range regexp.MustCompile("`([a-z.]+)`").FindAllSubmatch(sentence[1], -1) {
		kinds = append(kinds, string(m[1]))
	}
	for _, k := range kinds {
		if !slices.ContainsFunc(audit.Kinds(), func(of audit.Kind) bool { return of.String() == k }) {
			t.Errorf("docs/audit.md says that %s is no record, and there is no such event", k)
		}
	}
	return kinds
}

// agrees compares the lines of all audit events with the records in the chain: each line has one record, in the same order, with the same
// fields, and no record is without a line. What an erasure removed from beside a record is not compared. Events that docs/audit.md says are
// in the log alone have none. It returns how many records of each kind it compared.
func (s *site) agrees(t *testing.T) map[string]int {
	t.Helper()
	alone := unrecorded(t)
	var lines []line
	for _, l := range s.witness.audited(t) {
		if !slices.Contains(alone, l["event"]) {
			lines = append(lines, l)
		}
	}
	rows, err := s.store.AuditRecords(t.Context(), "main", 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	compared := make(map[string]int)
	for i, row := range rows {
		record := make(map[string]any)
		if err := json.Unmarshal([]byte(row.Record), &record); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(record["seq"]) != fmt.Sprint(i+1) || record["node"] != "main" || record["domain"] != any(row.Domain) && row.Domain != "" ||
			record["user"] != any(row.User) && row.User != "" {
			t.Errorf("record %d is stored as %+v", i+1, row)
		}
		private := record["private"]
		for _, of := range []string{"node", "seq", "time", "prev", "private", "v"} {
			delete(record, of)
		}
		got := make(line)
		for name, value := range record {
			got[name] = fmt.Sprint(value)
		}
		compared[got["event"]]++
		if slices.Contains(alone, got["event"]) {
			t.Errorf("docs/audit.md says that %s is no record: %s", got["event"], row.Record)
		}
		if i >= len(lines) {
			t.Errorf("a record without a line: %s", row.Record)
			continue
		}
		want := maps.Clone(lines[i])
		beside := make(line)
		for _, of := range []string{"address", "handle", "reason"} {
			if want[of] != "" {
				beside[of] = want[of]
			}
			delete(want, of)
		}
		if !maps.Equal(got, want) {
			t.Errorf("record %d is %v, and its line %v", i+1, got, want)
		}
		if (private != nil) != (len(beside) > 0) {
			t.Errorf("record %d has a commitment %v, and the line has %v", i+1, private, beside)
		}
		if row.Private == nil { // there was nothing, or it was erased
			continue
		}
		values := make(line)
		if err := json.Unmarshal(row.Private[32:], &values); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(values, beside) {
			t.Errorf("beside record %d is %v, and in its line %v", i+1, values, beside)
		}
	}
	for _, l := range lines[min(len(rows), len(lines)):] {
		t.Errorf("a line without a record: %v", l)
	}
	return compared
}

// wantsAgreement wants lines and records to agree, and both for every kind of event.
func (l *listener) wantsAgreement(t *testing.T) {
	t.Helper()
	compared, alone := l.agrees(t), unrecorded(t)
	for _, k := range audit.Kinds() {
		switch {
		case k == audit.BackupRestored: // the program restores backups, when no issuer runs: see cmd/issuer
		case slices.Contains(alone, k.String()):
			if !l.kinds[k.String()] {
				t.Errorf("no line of %s was compared", k)
			}
		case compared[k.String()] == 0:
			t.Errorf("no record of %s was compared: play it in TestAudit, or say in docs/audit.md that it is a line of the log alone", k)
		}
	}
}
