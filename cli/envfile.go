package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

// lookupFunc finds a variable of the caller's environment, as os.LookupEnv does.
type lookupFunc func(name string) (string, bool)

// readEnv puts the environment together: the files first, in order, then every -e, so that -e wins.
func readEnv(c *urfave.Context, o *engine.CreateOptions, lookup lookupFunc) (err error) {
	o.Env, err = environment(c.StringSlice("env-file"), c.StringSlice("env"), lookup)
	return err
}

func environment(files, vars []string, lookup lookupFunc) ([]string, error) {
	var env []string
	for _, name := range files {
		lines, err := readPairs(name, lookup)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		env = append(env, lines...)
	}
	for _, v := range vars {
		name, _, given := strings.Cut(v, "=")
		if name == "" {
			return nil, fmt.Errorf("invalid environment variable: %s", v)
		}
		if given {
			env = append(env, v)
		} else if value, ok := lookup(name); ok { // a bare NAME that the caller has not set is left out
			env = append(env, name+"="+value)
		}
	}
	return env, nil
}

func readLabelFiles(files []string) (lines []string, err error) {
	for _, name := range files {
		more, err := readPairs(name, func(string) (string, bool) { return "", true })
		if err != nil {
			return nil, fmt.Errorf("--label-file: %w", err)
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

func readPairs(name string, lookup lookupFunc) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, err := parsePairs(f, lookup)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return lines, nil
}

// parsePairs reads Docker's env-file format: one NAME=value a line, taken literally after the equals sign; a bare NAME is
// looked up and left out when it is not there; empty lines and lines that begin with # are skipped.
func parsePairs(r io.Reader, lookup lookupFunc) ([]string, error) {
	var lines []string
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		raw := scanner.Bytes()
		if !utf8.Valid(raw) {
			return nil, fmt.Errorf("line %d is not valid UTF-8", n)
		}
		if n == 1 {
			raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
		}
		line := strings.TrimLeftFunc(string(raw), unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		name, _, given := strings.Cut(line, "=")
		switch {
		case name == "":
			return nil, fmt.Errorf("line %d has no variable name: '%s'", n, line)
		case strings.ContainsAny(name, " \t"):
			return nil, fmt.Errorf("line %d: variable '%s' contains white space", n, name)
		case given:
			lines = append(lines, line)
		default:
			if value, ok := lookup(name); ok {
				lines = append(lines, name+"="+value)
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	return lines, nil
}
