package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// --log-driver journald sends each line to systemd's journal, by its native protocol: one datagram an entry, made of fields
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL). The names of the fields are those that Docker's driver gives.
//
//	journalctl CONTAINER_NAME=web
const journalSocket = "/run/systemd/journal/socket"

type journal struct {
	conn    net.Conn
	fields  []byte // those that are the same in all entries
	ordinal uint64
}

// checkJournal refuses journald where there is none.
func checkJournal() error {
	if st, err := os.Stat(journalSocket); err != nil || st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("log driver journald: systemd's journal is not here, as there is no socket %s; use --log-driver json-file", journalSocket)
	}
	return nil
}

func openJournal(d *Definition, attrs map[string]string) (*journal, error) {
	conn, err := net.Dial("unixgram", journalSocket)
	if err != nil {
		return nil, fmt.Errorf("log driver journald: %w", err)
	}
	j := &journal{conn: conn}
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

// send writes one entry. partial says that the line goes on in the next. It blocks while the journal is busy: nothing is lost.
func (j *journal) send(stream string, line []byte, partial bool, at time.Time) error {
	priority := "6" // informational; standard error is 3, an error: syslog(3)
	if stream == "stderr" {
		priority = "3"
	}
	j.ordinal++
	entry := appendJournalField(bytes.Clone(j.fields), "MESSAGE", bytes.TrimSuffix(line, []byte("\n")))
	entry = appendJournalField(entry, "PRIORITY", []byte(priority))
	entry = appendJournalField(entry, "SYSLOG_TIMESTAMP", []byte(at.UTC().Format(time.RFC3339Nano)))
	entry = appendJournalField(entry, "CONTAINER_LOG_ORDINAL", strconv.AppendUint(nil, j.ordinal, 10))
	if partial {
		entry = appendJournalField(entry, "CONTAINER_PARTIAL_MESSAGE", []byte("true"))
	}
	if _, err := j.conn.Write(entry); err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	return nil
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
