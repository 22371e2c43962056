package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func writeLog(t *testing.T, opts map[string]string, chunks ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "container.log")
	l, err := openLog(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		l.write("stdout", []byte(c))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func readLog(t *testing.T, path string, o LogOptions) string {
	t.Helper()
	var out bytes.Buffer
	o.Stdout = &out
	r := newLogReader(path, o)
	if err := r.openAtTail(); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if _, err := r.drain(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLogKeepsEveryByteOfText(t *testing.T) {
	text := "plain\n\ttab \"quoted\" back\\slash \x01\x1b[31m <&> ünïcode 漢字\n\nunfinished"
	for size := 1; size < 9; size++ {
		var chunks []string
		for i := 0; i < len(text); i += size {
			chunks = append(chunks, text[i:min(i+size, len(text))])
		}
		if got := readLog(t, writeLog(t, nil, chunks...), LogOptions{Tail: -1}); got != text {
			t.Errorf("in pieces of %d: got %q, want %q", size, got, text)
		}
	}
}

func TestLogLinesAreJSON(t *testing.T) {
	path := writeLog(t, nil, "a\xffb\n")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var l logLine
	if err := json.Unmarshal(data, &l); err != nil {
		t.Fatal(err)
	}
	if l.Log != "a\ufffdb\n" || l.Stream != "stdout" || time.Since(l.Time) > time.Minute {
		t.Errorf("got %+v", l)
	}
}

func TestLogTail(t *testing.T) {
	path := writeLog(t, nil, "1\n2\n3\n4\n5\n")
	for n, want := range map[int]string{-1: "1\n2\n3\n4\n5\n", 0: "", 1: "5\n", 3: "3\n4\n5\n", 5: "1\n2\n3\n4\n5\n", 99: "1\n2\n3\n4\n5\n"} {
		if got := readLog(t, path, LogOptions{Tail: n}); got != want {
			t.Errorf("tail %d: got %q, want %q", n, got, want)
		}
	}
}

func TestLogRotationIsBounded(t *testing.T) {
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("line %04d\n", i))
	}
	path := writeLog(t, map[string]string{"max-size": "8k", "max-file": "3"}, lines...)
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 3 {
		t.Fatalf("files: %v, %v; want three", files, err)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Size() > 8<<10 {
			t.Errorf("%s has %d bytes, %v", f, st.Size(), err)
		}
	}
	got := readLog(t, path, LogOptions{Tail: -1})
	if !strings.HasSuffix(strings.Join(lines, ""), got) || got == "" {
		t.Errorf("what is left is not the end of what was written: %q…", got[:min(len(got), 60)])
	}
	if got := readLog(t, path, LogOptions{Tail: 150}); got != strings.Join(lines[850:], "") {
		t.Errorf("tail over a rotation: got %q", got)
	}
}

func TestLongLineIsCutAsDockerCutsIt(t *testing.T) {
	long := strings.Repeat("x", maxLogLine*2+10)
	path := writeLog(t, nil, long+"\n")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("\n")); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
	if got := readLog(t, path, LogOptions{Tail: -1}); got != long+"\n" {
		t.Error("the pieces do not make the line")
	}
}

func TestLogFollowSeesRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "container.log")
	l, err := openLog(path, map[string]string{"max-size": "2k", "max-file": "9"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := newLogReader(path, LogOptions{Tail: -1, Stdout: &out})
	if err := r.watch(); err != nil {
		t.Fatal(err)
	}
	if err := r.openAtTail(); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range 100 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		l.write("stdout", []byte(line))
		if _, err := r.drain(); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != want.String() {
		t.Errorf("followed %d bytes of %d", out.Len(), want.Len())
	}
	if err := r.wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func FuzzLogLine(f *testing.F) {
	f.Add([]byte("plain"))
	f.Add([]byte("\x00\xff\"\\\u2028"))
	f.Fuzz(func(t *testing.T, p []byte) {
		line := appendLogLine(nil, "stderr", nil, time.Unix(0, 0), p)
		var l logLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%q is no JSON: %v", line, err)
		}
		if want := strings.ToValidUTF8(string(p), "\ufffd"); utf8.Valid(p) && l.Log != want {
			t.Fatalf("got %q, want %q", l.Log, want)
		}
	})
}

func BenchmarkLogWrite(b *testing.B) {
	l, err := openLog(filepath.Join(b.TempDir(), "container.log"), nil)
	if err != nil {
		b.Fatal(err)
	}
	chunk := []byte(strings.Repeat(strings.Repeat("a", 79)+"\n", 400))
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		l.write("stdout", chunk)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// A log that is removed under who follows it, container and all, has come to its end: that is no error.
func TestLogFollowSeesRemoval(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	path := filepath.Join(dir, "container.log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got string
	r := &follower{path: path, tail: -1, line: func(line []byte) (bool, error) { got += string(line); return false, nil }}
	err := r.follow(t.Context(), func() bool {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		return false
	})
	if err != nil || got != "one\n" {
		t.Errorf("%q, %v", got, err)
	}
}
