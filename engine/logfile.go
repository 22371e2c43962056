package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"
)

// The log is Docker's json-file: one JSON object a line, with the stream it came from and the time it was read. With
// --log-opt max-size it is bounded: at that size the file becomes FILE.1, FILE.1 becomes FILE.2, and the last one of
// --log-opt max-file falls off. Without it nothing is ever thrown away, as with Docker.
const (
	unlimitedLog = 1<<63 - 1
	// maxLogLine is where a line without an end is cut into pieces, as Docker does.
	maxLogLine = 16 << 10
)

// logWriter appends to a container's log. Its methods may be called from several goroutines.
type logWriter struct {
	path    string
	maxSize int64 // bytes
	files   int
	journal *journal // where lines go instead, with --log-driver journald
	attrs   []byte   // ,"attrs":{…} of --log-opt labels and the like

	mu   sync.Mutex // guards the rest
	f    *os.File
	size int64
	buf  []byte
	part map[string][]byte // the unfinished last line of each stream
	err  error             // the first failure to write, told when the container ends
}

// logLimits reads max-size and max-file of --log-opt.
func logLimits(opts map[string]string) (size int64, files int, err error) {
	size, files = unlimitedLog, 1
	for k, v := range opts {
		switch k {
		case "max-size":
			if v == "-1" {
				continue
			}
			if size, err = units.RAMInBytes(v); err != nil || size < 1 {
				return 0, 0, fmt.Errorf("--log-opt max-size=%s: a size such as 10m is expected", v)
			}
		case "max-file":
			if files, err = strconv.Atoi(v); err != nil || files < 1 {
				return 0, 0, fmt.Errorf("--log-opt max-file=%s: a number from 1 on is expected", v)
			}
		}
	}
	return size, files, nil
}

func openLog(path string, opts map[string]string) (*logWriter, error) {
	size, files, err := logLimits(opts)
	if err != nil {
		return nil, err
	}
	l := &logWriter{path: path, maxSize: size, files: files, part: make(map[string][]byte, 2)}
	return l, l.open()
}

// openJournalLog is a log whose lines go to systemd's journal.
func openJournalLog(d *Definition, attrs map[string]string) (*logWriter, error) {
	j, err := openJournal(d, attrs)
	return &logWriter{journal: j, part: make(map[string][]byte, 2)}, err
}

func (l *logWriter) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.size = f, st.Size()
	return nil
}

// write adds what a stream said. Whole lines are written at once; the rest waits for its end.
func (l *logWriter) write(stream string, p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Now()
	l.buf = l.buf[:0]
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n') + 1
		whole := n > 0
		if !whole {
			n = len(p)
		}
		part := l.part[stream]
		if room := maxLogLine - len(part); n > room {
			n, whole = room, true
		}
		if !whole {
			l.part[stream] = append(part, p[:n]...)
			break
		}
		line := p[:n]
		if len(part) > 0 {
			line = append(part, line...)
			l.part[stream] = part[:0]
		}
		l.add(stream, at, line)
		p = p[n:]
		if len(l.buf) > 256<<10 {
			l.flush()
		}
	}
	l.flush()
}

// add takes one line, or a piece of one that is too long or was never ended.
func (l *logWriter) add(stream string, at time.Time, line []byte) {
	if l.journal == nil {
		l.buf = appendLogLine(l.buf, stream, l.attrs, at, line)
		return
	}
	if err := l.journal.send(stream, line, line[len(line)-1] != '\n', at); err != nil && l.err == nil {
		l.err = err
	}
}

func (l *logWriter) flush() {
	if len(l.buf) == 0 {
		return
	}
	if l.size > 0 && l.size+int64(len(l.buf)) > l.maxSize {
		if err := l.rotate(); err != nil && l.err == nil {
			l.err = err
		}
	}
	n, err := l.f.Write(l.buf)
	l.size += int64(n)
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("write log %s: %w", l.path, err)
	}
	l.buf = l.buf[:0]
	if cap(l.buf) > 512<<10 {
		l.buf = nil
	}
}

// rotate equals: mv LOG.1 LOG.2; mv LOG LOG.1; a new LOG.
func (l *logWriter) rotate() error {
	if err := l.f.Close(); err != nil {
		return err
	}
	for i := l.files - 1; i > 0; i-- {
		from := l.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", l.path, i-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", l.path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if l.files == 1 {
		if err := os.Remove(l.path); err != nil {
			return err
		}
	}
	return l.open()
}

// removeLog equals: rm LOG.2 LOG.1 LOG. The oldest goes first: to whoever follows the log this is a rotation, in which what is left is
// always newer than what is gone.
func removeLog(path string) error {
	files, err := (&follower{path: path}).files()
	for _, g := range files {
		if removeErr := os.Remove(g.name); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return err
}

// endLines writes what never got its line end.
func (l *logWriter) endLines() {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Now()
	for stream, part := range l.part {
		if len(part) > 0 {
			l.add(stream, at, part)
			l.part[stream] = nil
		}
	}
	l.flush()
}

// Close writes what is left.
func (l *logWriter) Close() error {
	l.endLines()
	if l.journal != nil {
		return errors.Join(l.err, l.journal.Close())
	}
	return errors.Join(l.err, l.f.Close())
}

// appendLogLine writes {"log":"…\n","stream":"stdout","attrs":{…},"time":"…"}. Written by hand because it is the only thing
// that stands between a container's output and the disk; bytes that are no UTF-8 become U+FFFD, as in Docker.
func appendLogLine(b []byte, stream string, attrs []byte, at time.Time, line []byte) []byte {
	b = append(b, `{"log":"`...)
	b = appendJSONString(b, line)
	b = append(b, `","stream":"`...)
	b = append(b, stream...)
	b = append(b, '"')
	b = append(b, attrs...)
	b = append(b, `,"time":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, "\"}\n"...)
}

func appendJSONString(b, s []byte) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			start = i + n
		}
		i += n
	}
	return append(b, s[start:]...)
}
