package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// table writes rows in columns.
func table(w io.Writer, header []string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(header) > 0 {
		fmt.Fprintln(tw, strings.Join(header, "\t"))
	}
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	_ = tw.Flush() // a closed terminal
}

// facts writes names and values in two columns, indented.
func facts(w io.Writer, pairs ...string) {
	rows := make([][]string, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			rows = append(rows, []string{"  " + pairs[i], pairs[i+1]})
		}
	}
	table(w, nil, rows)
}

// isTerminal tells whether somebody watches w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// meter shows how far a transfer of size bytes is: a bar on a terminal, a line for each tenth elsewhere.
func (a *app) meter(what string, size int64) io.Writer {
	if isTerminal(a.err) {
		return progressbar.NewOptions64(size, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(a.err),
			progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish())
	}
	return &lines{w: a.err, what: what, size: size}
}

// lines is progress for a log file.
type lines struct {
	w          io.Writer
	what       string
	size, done int64
	tenth      int64
}

func (l *lines) Write(p []byte) (int, error) {
	l.done += int64(len(p))
	if t := 10 * l.done / max(1, l.size); t > l.tenth {
		l.tenth = t
		fmt.Fprintf(l.w, "%s: %d %%\n", l.what, 10*t)
	}
	return len(p), nil
}

// stage shows one step of something that takes a while.
func (a *app) stage(s string) { fmt.Fprintf(a.err, "%s\n", s) }

// writeFile writes a result to a file that must not exist, or to standard output for "" and "-".
func (a *app) writeFile(path string, data []byte, mode os.FileMode) error {
	if path == "" || path == "-" {
		_, err := a.out.Write(data)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if os.IsExist(err) {
		return fmt.Errorf("writing the result: %s exists already; name another file or remove it", path)
	}
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	_, err = f.Write(data)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// readLimited reads a file of at most max bytes.
func readLimited(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("%s has more than %d bytes", path, max)
	}
	return data, nil
}
