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

// maxArgument bounds a key or value of ours in bytes: a group's five names.
const maxArgument = 4096

// The two commands that the database writes for us, after their number of arguments.
const (
	commandSet = "$3\r\nset\r\n" // of 3: key and value follow
	commandDel = "$3\r\ndel\r\n" // of 2: a key follows
)

// checkFrames reads the database's file and refuses all but these commands, each argument as $LENGTH, the bytes, lines
// ending in \r\n. Nothing odd may reach the database's own reader: it allocates whatever a damaged length says, which ends
// the process, and panics at an empty command.
func checkFrames(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return readFrames(bufio.NewReaderSize(f, 1<<16))
}

func readFrames(r *bufio.Reader) error {
	for {
		count, err := readLength(r, '*', 3)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var command [len(commandSet)]byte
		_, err = io.ReadFull(r, command[:])
		if set := string(command[:]) == commandSet; err != nil || !(count == 3 && set || count == 2 && string(command[:]) == commandDel) {
			return fmt.Errorf("%w: command", ErrDamaged)
		}
		for range count - 1 {
			if err := skipArgument(r); err != nil {
				return err
			}
		}
	}
}

func skipArgument(r *bufio.Reader) error {
	n, err := readLength(r, '$', maxArgument)
	if err != nil {
		return fmt.Errorf("%w: cut off", ErrDamaged)
	}
	if got, err := r.Discard(n); err != nil || got != n {
		return fmt.Errorf("%w: cut off", ErrDamaged)
	}
	var end [2]byte
	if _, err := io.ReadFull(r, end[:]); err != nil || end != [2]byte{'\r', '\n'} {
		return fmt.Errorf("%w: cut off", ErrDamaged)
	}
	return nil
}

// readLength reads a line that begins with mark and states a length of at most max. io.EOF says that there is no line.
func readLength(r *bufio.Reader, mark byte, max int) (int, error) {
	line, err := r.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return 0, io.EOF
	}
	digits, ok := strings.CutSuffix(string(line), "\r\n")
	if err != nil || !ok || len(digits) < 2 || digits[0] != mark {
		return 0, fmt.Errorf("%w: frame", ErrDamaged)
	}
	n, err := strconv.Atoi(digits[1:])
	if err != nil || n < 0 || n > max || strconv.Itoa(n) != digits[1:] {
		return 0, fmt.Errorf("%w: length", ErrDamaged)
	}
	return n, nil
}
