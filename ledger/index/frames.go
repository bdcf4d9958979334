package index

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Bounds of a command in the database's file: "set" with key, value and perhaps an expiry, and the longest row of ours.
const (
	maxArguments = 5
	maxArgument  = 4096
)

var errFrames = errors.New("index file is damaged")

// checkFrames reads the file's framing (*ARGUMENTS, then for each $LENGTH and the bytes, lines ending in \r\n) and refuses
// lengths that no row of ours has. buntdb allocates whatever a damaged length says, which ends the process.
func checkFrames(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	for {
		count, err := readLength(r, '*', maxArguments)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for range count {
			n, err := readLength(r, '$', maxArgument)
			if err != nil {
				return fmt.Errorf("%w: cut off", errFrames)
			}
			if got, err := r.Discard(n + 2); err != nil || got != n+2 {
				return fmt.Errorf("%w: cut off", errFrames)
			}
		}
	}
}

// readLength reads a line that begins with mark and states a length of at most max. io.EOF says that there is no line.
func readLength(r *bufio.Reader, mark byte, max int) (int, error) {
	line, err := r.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return 0, io.EOF
	}
	digits, ok := strings.CutSuffix(string(line), "\r\n")
	if err != nil || !ok || len(digits) < 2 || digits[0] != mark {
		return 0, fmt.Errorf("%w: frame", errFrames)
	}
	n, err := strconv.Atoi(digits[1:])
	if err != nil || n < 0 || n > max || strconv.Itoa(n) != digits[1:] {
		return 0, fmt.Errorf("%w: length", errFrames)
	}
	return n, nil
}
