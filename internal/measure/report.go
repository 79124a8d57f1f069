package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// conditions say how the figures came about.
type conditions struct {
	Date      string `json:"date"`
	Go        string `json:"go"`
	System    string `json:"system"`
	Placement string `json:"placement"`
	CPUTime   bool   `json:"cpu_time"` // false: elapsed time
	Rounds    int    `json:"rounds,omitempty"`
	Window    string `json:"window,omitempty"`
	Starts    int    `json:"starts,omitempty"`
}

// A row is a line of the table: a work, its cost, and what of it is above the floor.
type row struct {
	Work string `json:"work"`
	Unit string `json:"unit"`
	Cost spread `json:"cost"`
	// Floor is what the work cannot do without, as a sum of V, S and H.
	Floor string `json:"floor,omitempty"`
	// Over is the cost above the floor, in OverUnit.
	Over     *spread `json:"over,omitempty"`
	OverUnit string  `json:"over_unit,omitempty"`
	// Goal is the highest Over, or the highest Cost of a row without one.
	Goal float64 `json:"goal,omitempty"`
	// Ratio compares with the build of -against: the cost here, divided by the cost there.
	Ratio float64 `json:"ratio,omitempty"`
}

// met reports whether the median keeps to the goal; ok is false if there is no goal.
func (r row) met() (met, ok bool) {
	if r.Goal == 0 {
		return false, false
	}
	reached := r.Cost.Median
	if r.Over != nil {
		reached = r.Over.Median
	}
	return reached <= r.Goal, true
}

// MarshalJSON adds the member "met" to rows with a goal.
func (r row) MarshalJSON() ([]byte, error) {
	type plain row
	out := struct {
		plain
		Met *bool `json:"met,omitempty"`
	}{plain: plain(r)}
	if met, ok := r.met(); ok {
		out.Met = &met
	}
	return json.Marshal(out)
}

// A report is the result of a run.
type report struct {
	conditions
	Rows []row `json:"rows"`
}

// write writes the report as a table, or as JSON.
func (r report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return r.writeJSON(w)
	}
	return r.writeText(w)
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeText writes a table in Markdown, ready for docs/performance.md.
func (r report) writeText(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s, %s; %s", r.Date, r.Go, r.System, r.Placement)
	if r.Rounds > 0 {
		fmt.Fprintf(w, "; medians of %d rounds of %s windows", r.Rounds, r.Window)
	}
	if r.Starts > 0 {
		fmt.Fprintf(w, " and %d starts", r.Starts)
	}
	fmt.Fprint(w, ".\n\n")
	compared := false
	for _, line := range r.Rows {
		compared = compared || line.Ratio > 0
	}
	table := [][]string{{"work", "cost", "half of the runs", "floor", "over the floor", "goal", "met?"}}
	if compared {
		table[0] = append(table[0], "ratio")
	}
	for _, line := range r.Rows {
		cells := []string{line.Work, number(line.Cost.Median) + " " + line.Unit, "", line.Floor, "", "", ""}
		if line.Cost.Low != line.Cost.High {
			cells[2] = number(line.Cost.Low) + " to " + number(line.Cost.High)
		}
		unit := line.Unit
		if line.Over != nil {
			unit = line.OverUnit
			cells[4] = number(line.Over.Median) + " " + unit
		}
		if met, ok := line.met(); ok {
			cells[5], cells[6] = number(line.Goal)+" "+unit, "no"
			if met {
				cells[6] = "yes"
			}
		}
		if compared {
			ratio := ""
			if line.Ratio > 0 {
				ratio = strconv.FormatFloat(line.Ratio, 'f', 3, 64)
			}
			cells = append(cells, ratio)
		}
		table = append(table, cells)
	}
	return writeTable(w, withoutEmpty(table))
}

// withoutEmpty removes the columns that have a header and nothing below it.
func withoutEmpty(table [][]string) [][]string {
	out := make([][]string, len(table))
	for column := range table[0] {
		if slices.ContainsFunc(table[1:], func(cells []string) bool { return cells[column] != "" }) {
			for i, cells := range table {
				out[i] = append(out[i], cells[column])
			}
		}
	}
	return out
}

// writeTable writes rows of cells as a Markdown table; the first row is the header.
func writeTable(w io.Writer, table [][]string) error {
	width := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for i, cells := range table {
		for j, cell := range cells {
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", width[j]-len([]rune(cell))))
		}
		if _, err := fmt.Fprintln(w, "|"); err != nil {
			return err
		}
		if i == 0 {
			for j := range cells {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", width[j]+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
	return nil
}

// number writes a figure with two decimals below ten and none from a hundred on: no measurement is better than that.
func number(f float64) string {
	switch {
	case f >= 100 || f <= -100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10 || f <= -10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	default:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
}
