package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// journalReader shows what the journal has of a container. The journal is read by its own program: its files are no interface.
// Equals: journalctl CONTAINER_ID_FULL=ID
type journalReader struct {
	id     string
	o      LogOptions
	cursor string // of the last entry that was shown
}

func (e *Engine) journalLogs(ctx context.Context, d *Definition, o LogOptions) error {
	r := &journalReader{id: d.ID, o: o}
	if o.Follow && e.followed(d.ID) {
		live, end := context.WithCancel(ctx)
		go func() {
			defer end()
			for e.followed(d.ID) {
				select {
				case <-live.Done():
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		}()
		done, err := r.show(live, "--follow")
		end()
		if done || err != nil {
			return err
		}
	}
	// All of a container that has ended has been taken by the journal (journal.Close). This returns when it has been written, too;
	// where it is not allowed, or not known, what is there is read all the same.
	_ = exec.CommandContext(ctx, "journalctl", "--sync").Run()
	_, err := r.show(ctx)
	return err
}

// show writes the entries after the last one, until there are no more, or ctx ends. done says that no more are wanted.
func (r *journalReader) show(ctx context.Context, more ...string) (done bool, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	args := append([]string{"--output=json", "--quiet", "--no-pager", "--all"}, more...)
	switch {
	case r.cursor != "":
		args = append(args, "--after-cursor="+r.cursor)
	case r.o.Tail >= 0:
		args = append(args, "--lines="+strconv.Itoa(r.o.Tail))
	case len(more) > 0:
		args = append(args, "--no-tail")
	}
	if !r.o.Since.IsZero() && r.cursor == "" {
		args = append(args, "--since=@"+strconv.FormatInt(r.o.Since.Unix(), 10))
	}
	cmd := exec.CommandContext(ctx, "journalctl", append(args, "CONTAINER_ID_FULL="+r.id)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("read the journal: %w", err)
	}
	done, err = r.entries(out)
	ended := ctx.Err() != nil
	if done || err != nil {
		stop() // there may be more, which nobody wants
	}
	waitErr := cmd.Wait()
	switch {
	case ended && errors.Is(err, io.ErrUnexpectedEOF):
		return done, nil // it was stopped in the middle of an entry, which is read again
	case err == nil && !ended && !done && waitErr != nil:
		return done, fmt.Errorf("journalctl: %w", waitErr)
	}
	return done, err
}

// journalText is a field: a string, or a list of numbers where the bytes are no text.
type journalText []byte

func (t *journalText) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*t = []byte(s)
		return nil
	}
	var numbers []uint16
	if json.Unmarshal(data, &numbers) != nil {
		return nil // a field that stands there twice: none of ours does
	}
	*t = nil
	for _, n := range numbers {
		*t = append(*t, byte(n))
	}
	return nil
}

func (r *journalReader) entries(in io.Reader) (done bool, err error) {
	for decoder := json.NewDecoder(bufio.NewReader(in)); ; {
		var entry map[string]journalText
		switch err := decoder.Decode(&entry); {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("journalctl said what is no entry: %w", err)
		}
		if done, err := r.o.emit(journalLine(entry)); done || err != nil {
			return done, err
		}
		r.cursor = string(entry["__CURSOR"])
	}
}

// journalLine makes a line of the log of an entry.
func journalLine(entry map[string]journalText) logLine {
	l := logLine{Log: string(entry["MESSAGE"]), Stream: "stdout", Attrs: map[string]string{}}
	if string(entry["PRIORITY"]) == "3" {
		l.Stream = "stderr"
	}
	if string(entry["CONTAINER_PARTIAL_MESSAGE"]) != "true" {
		l.Log += "\n"
	}
	var err error
	if l.Time, err = time.Parse(time.RFC3339Nano, string(entry["SYSLOG_TIMESTAMP"])); err != nil {
		micros, _ := strconv.ParseInt(string(entry["__REALTIME_TIMESTAMP"]), 10, 64) // an entry without a time is as old as can be
		l.Time = time.UnixMicro(micros).UTC()
	}
	for name, value := range entry {
		if !ownJournalField(name) {
			l.Attrs[name] = string(value)
		}
	}
	return l
}

// ownJournalField says that a field is the journal's or ours, and none of those that --log-opt labels and the like ask for.
func ownJournalField(name string) bool {
	switch name {
	case "MESSAGE", "PRIORITY", "IMAGE_NAME", "SYSLOG_IDENTIFIER", "SYSLOG_TIMESTAMP", "CONTAINER_ID", "CONTAINER_ID_FULL", "CONTAINER_NAME",
		"CONTAINER_TAG", "CONTAINER_LOG_EPOCH", "CONTAINER_LOG_ORDINAL":
		return true
	}
	return strings.HasPrefix(name, "_") || strings.HasPrefix(name, "CONTAINER_PARTIAL_")
}
