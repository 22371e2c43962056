package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// journalLogs shows what the journal has of a container. The journal is read by its own program: its files are no interface.
// Equals: journalctl CONTAINER_ID_FULL=ID
func (e *Engine) journalLogs(ctx context.Context, d *Definition, o LogOptions) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	args := []string{"--output=json", "--quiet", "--no-pager", "--all"}
	if o.Tail >= 0 {
		args = append(args, "--lines="+strconv.Itoa(o.Tail))
	}
	if !o.Since.IsZero() {
		args = append(args, "--since=@"+strconv.FormatInt(o.Since.Unix(), 10))
	}
	if o.Follow {
		args = append(args, "--follow")
		if o.Tail < 0 {
			args = append(args, "--no-tail")
		}
		go func() {
			for e.followed(d.ID) {
				select {
				case <-ctx.Done():
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
			time.Sleep(200 * time.Millisecond) // what came last is on its way through the journal
			stop()
		}()
	}
	cmd := exec.CommandContext(ctx, "journalctl", append(args, "CONTAINER_ID_FULL="+d.ID)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	err = journalEntries(out, o)
	stop()
	waitErr := cmd.Wait()
	if err == nil && ctx.Err() == nil && waitErr != nil {
		err = fmt.Errorf("journalctl: %w", waitErr)
	}
	return err
}

// journalEntry is what we look at of an entry in journalctl's JSON.
type journalEntry struct {
	Message  journalText `json:"MESSAGE"`
	Priority string      `json:"PRIORITY"`
	Time     string      `json:"SYSLOG_TIMESTAMP"`
	Received string      `json:"__REALTIME_TIMESTAMP"` // microseconds
	Partial  string      `json:"CONTAINER_PARTIAL_MESSAGE"`
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
	if err := json.Unmarshal(data, &numbers); err != nil {
		return err
	}
	*t = nil
	for _, n := range numbers {
		*t = append(*t, byte(n))
	}
	return nil
}

func journalEntries(r io.Reader, o LogOptions) error {
	for in := json.NewDecoder(bufio.NewReader(r)); ; {
		var entry journalEntry
		if err := in.Decode(&entry); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("journalctl said what is no entry: %w", err)
		}
		l := logLine{Log: string(entry.Message), Stream: "stdout"}
		if entry.Priority == "3" {
			l.Stream = "stderr"
		}
		if entry.Partial != "true" {
			l.Log += "\n"
		}
		var err error
		if l.Time, err = time.Parse(time.RFC3339Nano, entry.Time); err != nil {
			micros, _ := strconv.ParseInt(entry.Received, 10, 64) // an entry without a time is as old as can be
			l.Time = time.UnixMicro(micros).UTC()
		}
		if done, err := o.emit(l); done || err != nil {
			return err
		}
	}
}
