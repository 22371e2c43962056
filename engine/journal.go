package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// --log-driver journald sends each line to systemd's journal, by its native protocol: one datagram an entry, made of fields
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL). The names of the fields are those that Docker's driver gives.
//
//	journalctl CONTAINER_NAME=web
const journalSocket = "/run/systemd/journal/socket"

type journal struct {
	conn   *net.UnixConn
	fields []byte // those that are the same in all entries
	place  journalPlace
}

// journalPlace is how far a run of a container has told the journal; a monitor hands it to its next self.
type journalPlace struct {
	Epoch   string // of this run
	Ordinal uint64 // of the last entry
	Pieces  map[string]*journalPieces
}

// journalPieces is a line that comes in more than one entry, because it is long.
type journalPieces struct {
	ID      string
	Ordinal int
}

// checkJournal refuses journald where there is none.
func checkJournal() error {
	if st, err := os.Stat(journalSocket); err != nil || st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("log driver journald: systemd's journal is not here, as there is no socket %s; use --log-driver json-file", journalSocket)
	}
	return nil
}

func openJournal(d *Definition, attrs map[string]string) (*journal, error) {
	j := &journal{place: journalPlace{Epoch: newID(), Pieces: map[string]*journalPieces{}}}
	if err := j.dial(); err != nil {
		return nil, err
	}
	tag := ShortID(d.ID)
	if own, ok := attrs["tag"]; ok {
		tag = own
	}
	for _, f := range [][2]string{
		{"CONTAINER_ID", ShortID(d.ID)}, {"CONTAINER_ID_FULL", d.ID}, {"CONTAINER_NAME", d.Name}, {"CONTAINER_TAG", tag},
		{"IMAGE_NAME", d.Options.Image}, {"SYSLOG_IDENTIFIER", tag},
	} {
		j.fields = appendJournalField(j.fields, f[0], []byte(f[1]))
	}
	for k, v := range attrs {
		if k != "tag" {
			j.fields = appendJournalField(j.fields, journalName(k), []byte(v))
		}
	}
	return j, nil
}

// journalName makes a field's name of a label's: the journal takes capitals, digits and _, which may not come first.
func journalName(key string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(key)), "_0123456789")
}

func (j *journal) dial() error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: journalSocket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("log driver journald: %w", err)
	}
	j.conn = conn
	return nil
}

// send writes one entry. partial says that the line goes on in the next. It blocks while the journal is busy: nothing is lost.
func (j *journal) send(stream string, line []byte, partial bool, at time.Time) error {
	priority := "6" // informational; standard error is 3, an error: syslog(3)
	if stream == "stderr" {
		priority = "3"
	}
	j.place.Ordinal++
	entry := appendJournalField(bytes.Clone(j.fields), "MESSAGE", bytes.TrimSuffix(line, []byte("\n")))
	entry = appendJournalField(entry, "PRIORITY", []byte(priority))
	entry = appendJournalField(entry, "SYSLOG_TIMESTAMP", []byte(at.UTC().Format(time.RFC3339Nano)))
	entry = appendJournalField(entry, "CONTAINER_LOG_EPOCH", []byte(j.place.Epoch))
	entry = appendJournalField(entry, "CONTAINER_LOG_ORDINAL", strconv.AppendUint(nil, j.place.Ordinal, 10))
	entry = j.appendPiece(entry, stream, partial)
	_, err := j.conn.Write(entry)
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOTCONN) { // the journal has made its socket anew
		if err = errors.Join(j.conn.Close(), j.dial()); err == nil {
			_, err = j.conn.Write(entry)
		}
	}
	if err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	return nil
}

// appendPiece says which piece of a line this is, if it is not a whole one.
func (j *journal) appendPiece(entry []byte, stream string, partial bool) []byte {
	piece := j.place.Pieces[stream]
	if piece == nil {
		if !partial {
			return entry
		}
		piece = &journalPieces{ID: newID()}
		j.place.Pieces[stream] = piece
	}
	piece.Ordinal++
	entry = appendJournalField(entry, "CONTAINER_PARTIAL_ID", []byte(piece.ID))
	entry = appendJournalField(entry, "CONTAINER_PARTIAL_ORDINAL", strconv.AppendInt(nil, int64(piece.Ordinal), 10))
	entry = appendJournalField(entry, "CONTAINER_PARTIAL_LAST", strconv.AppendBool(nil, !partial))
	if partial {
		return appendJournalField(entry, "CONTAINER_PARTIAL_MESSAGE", []byte("true"))
	}
	delete(j.place.Pieces, stream)
	return entry
}

// journalPatience is how long the end of a container waits for a journal that does not take what it was sent.
const journalPatience = 5 * time.Second

// Close returns when the journal has taken everything: who then asks for the container's log sees all of it.
func (j *journal) Close() error {
	raw, err := j.conn.SyscallConn()
	if err != nil {
		return errors.Join(err, j.conn.Close())
	}
	for end := time.Now().Add(journalPatience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		queued, queueErr := 0, error(nil)
		err = raw.Control(func(fd uintptr) { queued, queueErr = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err = errors.Join(err, queueErr); err != nil || queued == 0 {
			break
		}
	}
	return errors.Join(err, j.conn.Close())
}

// appendJournalField writes NAME=value and a newline; a value that holds a newline or other control characters is written as
// NAME, a newline, its length in 64 bits, the bytes, a newline.
func appendJournalField(b []byte, name string, value []byte) []byte {
	b = append(b, name...)
	if bytes.IndexFunc(value, func(r rune) bool { return r < ' ' && r != '\t' }) < 0 {
		b = append(append(b, '='), value...)
		return append(b, '\n')
	}
	b = binary.LittleEndian.AppendUint64(append(b, '\n'), uint64(len(value)))
	return append(append(b, value...), '\n')
}
