package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/mydocker/mydocker/state"
)

// logLine is one record of Docker's json-file log.
type logLine struct {
	Log    string            `json:"log"`
	Stream string            `json:"stream"`
	Attrs  map[string]string `json:"attrs"`
	Time   time.Time         `json:"time"`
}

// Logs writes what the container has said, oldest first, and with Follow what it says until it ends.
func (e *Engine) Logs(ctx context.Context, ref string, o LogOptions) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	e.lookAfter(d)
	switch d.Options.LogDriver {
	case "journald":
		return e.journalLogs(ctx, d, o)
	case "none":
		return fmt.Errorf("container %s was started with --log-driver none: nothing of its output was kept", d.Name)
	}
	var more func() bool
	if o.Follow {
		more = func() bool { return e.followed(d.ID) }
	}
	return newLogReader(e.path(d.ID, logFile), o).follow(ctx, more)
}

// followed says whether there may be more to come: the container runs, or will in a moment.
func (e *Engine) followed(id string) bool {
	if e.busy(id) {
		return true
	}
	held, err := state.Held(e.path(id, restartFile))
	return err == nil && held
}

func newLogReader(path string, o LogOptions) *follower {
	return &follower{path: path, tail: o.Tail, line: func(line []byte) (done bool, err error) {
		if len(bytes.TrimSpace(line)) == 0 {
			return false, nil
		}
		var l logLine
		if err := json.Unmarshal(line, &l); err != nil {
			return false, fmt.Errorf("log %s is damaged: %w", path, err)
		}
		return o.emit(l)
	}}
}

// emit writes one record if it is wanted; done says that --until is passed.
func (o *LogOptions) emit(l logLine) (done bool, err error) {
	if !o.Until.IsZero() && l.Time.After(o.Until) {
		return true, nil
	}
	if !o.Since.IsZero() && l.Time.Before(o.Since) {
		return false, nil
	}
	w := o.Stdout
	if l.Stream == "stderr" {
		w = o.Stderr
	}
	if w == nil {
		return false, nil
	}
	text := l.Log
	if o.Details {
		text = details(l.Attrs) + " " + text
	}
	if o.Timestamps {
		text = l.Time.Format("2006-01-02T15:04:05.000000000Z07:00") + " " + text
	}
	_, err = io.WriteString(w, text)
	return false, err
}
