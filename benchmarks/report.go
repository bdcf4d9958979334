package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A Report is what a run found.
type Report struct {
	Machine Machine `json:"machine"`
	Quick   bool    `json:"quick"` // few samples: not to quote
	Circuit string  `json:"circuit_id,omitempty"`
	KeyKind string  `json:"key_kind,omitempty"`
	Rows    []Row   `json:"rows"`
	Seconds float64 `json:"seconds"`
}

// A Row is one figure.
type Row struct {
	Part    string  `json:"part"`
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Samples int     `json:"samples"`
	Values  []Value `json:"values"`
	Aim     *Aim    `json:"aim,omitempty"`
}

// A Value is one number of a figure, such as its median.
type Value struct {
	Label  string  `json:"label,omitempty"`
	Number float64 `json:"number"`
}

// An Aim is what a figure should not exceed, or should reach.
type Aim struct {
	Of    string  `json:"of,omitempty"` // label of the value that is meant
	Limit float64 `json:"limit"`
	Least bool    `json:"least,omitempty"` // the more the better
	Met   bool    `json:"met"`
}

// add puts a figure into the report. A limit of 0 is no aim; else it holds for the value with the label of.
func (b *bench) add(part, name, unit string, samples int, values []Value, of string, limit float64) {
	row := Row{Part: part, Name: name, Unit: unit, Samples: samples, Values: values}
	if limit > 0 {
		for _, v := range values {
			if v.Label == of {
				row.Aim = &Aim{Of: of, Limit: limit, Met: v.Number <= limit}
			}
		}
	}
	b.report.Rows = append(b.report.Rows, row)
}

// least adds a figure of one number that should reach a limit.
func (b *bench) least(part, name, unit string, samples int, number, limit float64) {
	b.report.Rows = append(b.report.Rows, Row{Part: part, Name: name, Unit: unit, Samples: samples, Values: []Value{{Number: number}},
		Aim: &Aim{Limit: limit, Least: true, Met: number >= limit}})
}

// one adds a figure of one number.
func (b *bench) one(part, name, unit string, number float64) {
	b.add(part, name, unit, 1, []Value{{Number: number}}, "", 0)
}

func (r *Report) writeJSON(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func (r *Report) writeTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range r.Machine.lines() {
		fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	if r.Circuit != "" {
		fmt.Fprintf(w, "circuit\t%s\nkeys\t%s: good for measuring, worth nothing as evidence\n", r.Circuit, r.KeyKind)
	}
	fmt.Fprintf(w, "took\t%.0f s\n", r.Seconds)
	if r.Quick {
		fmt.Fprint(w, "quick\tfew samples: not figures to quote\n")
	}
	fmt.Fprint(w, "\n") // ends the columns of the lines above
	fmt.Fprint(w, "part\tfigure\tunit\tsamples\tvalue\taim\n")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", row.Part, row.Name, row.Unit, row.Samples, row.values(), row.aim())
	}
	return w.Flush()
}

func (r *Row) values() string {
	var list []string
	for _, v := range r.Values {
		list = append(list, strings.TrimSpace(v.Label+" "+format(v.Number)))
	}
	return strings.Join(list, "  ")
}

func (r *Row) aim() string {
	if r.Aim == nil {
		return "-"
	}
	verdict := "met"
	if !r.Aim.Met {
		verdict = "MISSED"
	}
	relation := "<="
	if r.Aim.Least {
		relation = ">="
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Aim.Of, relation, format(r.Aim.Limit))) + ": " + verdict
}

// format writes a number with three or four digits that mean something, and whole numbers whole.
func format(x float64) string {
	switch {
	case x == float64(int64(x)), x >= 1000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case x >= 1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}
