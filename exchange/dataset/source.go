package dataset

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

var (
	// ErrProblems means that a file has rows that cannot be imported; the report says which. Nothing was imported.
	ErrProblems = errors.New("the file has rows that cannot be imported; nothing was")
	// ErrSource means that a file cannot be read as CSV at all.
	ErrSource = errors.New("the file cannot be read as CSV")
)

// A Problem is one thing that is wrong with a source file. It does not contain what the file holds there.
type Problem struct {
	Line   int    // in the file, from 1
	Column string // of the schema, or "identifier"; empty for the row as a whole
	Reason string
}

func (p Problem) String() string {
	if p.Column == "" {
		return fmt.Sprintf("line %d: %s", p.Line, p.Reason)
	}
	return fmt.Sprintf("line %d: column %s: %s", p.Line, p.Column, p.Reason)
}

// A Report says what an import found. Its counts and lines are for the holder; none of it is for the ledger.
type Report struct {
	Rows         int       // rows after the header
	Accepted     int       // rows without a problem that the filter kept
	Filtered     int       // rows that the filter left out
	ProblemCount int       // all problems
	Problems     []Problem // the first MaxProblems, in the order of the file
	Ignored      []string  // source columns that nothing reads

	// Compared with the dataset's current epoch; zero until the rows have been found free of problems. After a change of the
	// schema's columns nothing can be compared, and every subject counts as added.
	Added, Changed, Unchanged, Removed int
}

func (r *Report) add(p Problem) {
	r.ProblemCount++
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, p)
	}
}

// A subject is one accepted row: its key and where in the arena its encoded values are.
type subject struct {
	key      circuits.Key
	from, to int
	line     int
}

// subjects are the accepted rows of a file, in the order of the tree once sorted.
type subjects struct {
	list  []subject
	arena []byte // encoded rows, one after the other: a million small slices would burden the collector
}

func (s *subjects) row(i int) []byte { return s.arena[s.list[i].from:s.list[i].to] }

// sort orders the subjects by place, then key.
func (s *subjects) sort() {
	slices.SortFunc(s.list, func(a, b subject) int { return compareKeys(a.key, b.key) })
}

func compareKeys(a, b circuits.Key) int {
	if p, q := a.Place(), b.Place(); p != q {
		if p < q {
			return -1
		}
		return 1
	}
	return bytes.Compare(a[:], b[:])
}

// boundedReader refuses a record that does not end within MaxRecordBytes, before encoding/csv holds all of it.
type boundedReader struct {
	r    io.Reader
	read int64 // bytes handed out
	left int64
	hit  bool
}

var errRecordSize = errors.New("record too large")

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.hit = true
		return 0, errRecordSize
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.read += int64(n)
	b.left -= int64(n)
	return n, err
}

// A source reads the records of a CSV file as RFC 4180 has them: UTF-8 with or without byte order mark, LF or CRLF, comma.
type source struct {
	bounded *boundedReader
	csv     *csv.Reader
	line    int // on which the last record began
}

func newSource(r io.Reader) (*source, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	start, err := buffered.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		if _, err := buffered.Discard(3); err != nil {
			return nil, err
		}
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, fmt.Errorf("%w: it is in UTF-16; save it as UTF-8", ErrSource)
	}
	s := &source{bounded: &boundedReader{r: buffered}}
	s.csv = csv.NewReader(s.bounded)
	s.csv.FieldsPerRecord = -1
	s.csv.ReuseRecord = true
	return s, nil
}

// next returns the next record and the line it begins on; the slice is valid until the following call. errors are io.EOF,
// a *csv.ParseError, errRecordSize or the reader's own.
func (s *source) next() (cells []string, line int, err error) {
	s.bounded.left = MaxRecordBytes - (s.bounded.read - s.csv.InputOffset())
	cells, err = s.csv.Read()
	if s.bounded.hit {
		return nil, 0, errRecordSize
	}
	if err != nil {
		return nil, 0, err
	}
	s.line, _ = s.csv.FieldPos(0)
	return cells, s.line, nil
}

// header reads the first record. Errors name no field: where a header is missing, they are somebody's.
func (s *source) header() ([]string, error) {
	cells, _, err := s.next()
	var parse *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: the file is empty; the first line must name the columns", schema.ErrHeader)
	case errors.Is(err, errRecordSize):
		return nil, fmt.Errorf("%w: the first line is longer than %d bytes", ErrSource, MaxRecordBytes)
	case errors.As(err, &parse):
		return nil, fmt.Errorf("%w: line %d: %s", ErrSource, parse.Line, parseReason(parse))
	case err != nil:
		return nil, err
	}
	if len(cells) > MaxSourceColumns {
		return nil, fmt.Errorf("%w: it has %d columns, the limit is %d", schema.ErrHeader, len(cells), MaxSourceColumns)
	}
	for i, name := range cells {
		if len(name) > maxHeaderName || !utf8.ValidString(name) {
			return nil, fmt.Errorf("%w: field %d is longer than %d bytes or not UTF-8", schema.ErrHeader, i+1, maxHeaderName)
		}
	}
	if len(cells) == 1 && strings.ContainsAny(cells[0], ";\t|") {
		return nil, fmt.Errorf("%w: it has no comma; fields must be separated by commas", schema.ErrHeader)
	}
	return slices.Clone(cells), nil
}

func parseReason(e *csv.ParseError) string {
	switch {
	case errors.Is(e.Err, csv.ErrBareQuote):
		return `a quote stands inside a field without quotes; reading stopped here`
	case errors.Is(e.Err, csv.ErrQuote):
		return `a quoted field does not end where it should; reading stopped here`
	}
	return "not CSV; reading stopped here"
}

// A rowReader turns source records into subjects and problems.
type rowReader struct {
	schema     *schema.Schema
	identifier *schema.Identifier
	instance   string
	rows       *schema.Reader
	columns    int // of the header
	buffer     schema.Row
	lines      map[circuits.Key]int32 // first line of each subject
	out        *subjects
	report     *Report
}

// readSubjects reads a whole file. Problems are in the report, with ErrProblems; a file without any usable header or one
// that cannot be read at all is another error. progress is called with the rows read so far and 0.
func readSubjects(ctx context.Context, r io.Reader, t *target, progress func(done, total int)) (*subjects, *Report, error) {
	report := new(Report)
	src, err := newSource(r)
	if err != nil {
		return nil, report, err
	}
	header, err := src.header()
	if err != nil {
		return nil, report, err
	}
	rows, err := t.mapping.Bind(t.schema, header)
	if err != nil {
		return nil, report, err
	}
	report.Ignored = rows.Ignored
	rr := &rowReader{schema: t.schema, identifier: t.identifier, instance: t.instance, rows: rows, columns: len(header),
		buffer: make(schema.Row, len(t.schema.Columns)), lines: make(map[circuits.Key]int32), out: new(subjects), report: report}
	if err := rr.all(ctx, src, progress); err != nil {
		return nil, report, err
	}
	if report.ProblemCount > 0 {
		return nil, report, ErrProblems
	}
	return rr.out, report, nil
}

// all reads the rows up to the end or to what cannot be read as CSV, which is a problem of its own.
func (rr *rowReader) all(ctx context.Context, src *source, progress func(done, total int)) error {
	for {
		cells, line, err := src.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			rr.report.add(Problem{Line: parse.StartLine, Reason: parseReason(parse)})
			return nil
		}
		if errors.Is(err, errRecordSize) {
			rr.report.add(Problem{Line: src.line + 1, Reason: fmt.Sprintf(
				"a row from here on is longer than %d bytes, perhaps for a quote that is not closed; reading stopped here", MaxRecordBytes)})
			return nil
		}
		if err != nil {
			return fmt.Errorf("after row %d: %w", rr.report.Rows, err)
		}
		if rr.report.Rows++; rr.report.Rows > MaxRows {
			return fmt.Errorf("%w: more than %d rows", ErrSource, MaxRows)
		}
		rr.row(cells, line)
		if rr.report.Rows%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress(rr.report.Rows, 0)
		}
	}
}

func (rr *rowReader) row(cells []string, line int) {
	if len(cells) != rr.columns {
		rr.report.add(Problem{Line: line, Reason: fmt.Sprintf("has %d fields, the header has %d", len(cells), rr.columns)})
		return
	}
	if !rr.rows.Keeps(cells) {
		rr.report.Filtered++
		return
	}
	good := rr.rows.Row(cells, rr.buffer, func(e *schema.CellError) {
		rr.report.add(Problem{Line: line, Column: e.Column, Reason: "want " + e.Want})
	})
	id, err := rr.identifier.Normalise(rr.rows.ID(cells, rr.report.Rows))
	if err != nil {
		rr.report.add(Problem{Line: line, Column: "identifier", Reason: err.Error()})
		return
	}
	key := circuits.SubjectKey(rr.instance, rr.schema.Scheme, id)
	if first, ok := rr.lines[key]; ok {
		rr.report.add(Problem{Line: line, Column: "identifier", Reason: fmt.Sprintf("the subject of line %d again", first)})
		return
	}
	rr.lines[key] = int32(line)
	if !good {
		return
	}
	rr.report.Accepted++
	from := len(rr.out.arena)
	rr.out.arena = appendRow(rr.out.arena, rr.buffer)
	rr.out.list = append(rr.out.list, subject{key: key, from: from, to: len(rr.out.arena), line: line})
}
