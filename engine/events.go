package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Events are lines appended to one file by whoever does something: a durable stream that needs no daemon. One write(2)
// with O_APPEND makes a line, so that lines of many processes do not mix.

// Event is one line of `events`, with Docker's keys.
type Event struct {
	Status   string `json:"status,omitempty"` // Docker's old name of Action, for containers only
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Type     string // container, network, image, volume
	Action   string
	Actor    Actor
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`     // seconds
	TimeNano int64  `json:"timeNano"` // nanoseconds
}

// Actor is to what it happened.
type Actor struct {
	ID         string
	Attributes map[string]string
}

const (
	maxEventsFile  = 8 << 20 // bytes; then the file is rotated
	eventsFileName = "events.jsonl"
)

func (e *Engine) eventsPath() string { return filepath.Join(e.Root.Lib, eventsFileName) }

// containerEvent tells of a container. That an event cannot be written is no reason to fail what it tells of.
func (e *Engine) containerEvent(d *Definition, action string, more ...string) {
	attributes := make(map[string]string, len(d.Options.Labels)+2+len(more)/2)
	for k, v := range d.Options.Labels {
		attributes[k] = v
	}
	attributes["image"], attributes["name"] = d.Options.Image, d.Name
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	e.Emit(Event{Status: action, ID: d.ID, From: d.Options.Image, Type: "container", Action: action, Actor: Actor{ID: d.ID, Attributes: attributes}})
}

// Emit appends an event to the stream.
func (e *Engine) Emit(ev Event) {
	at := time.Now()
	ev.Scope, ev.Time, ev.TimeNano = "local", at.Unix(), at.UnixNano()
	line, err := json.Marshal(ev)
	if err != nil {
		return
	}
	f, err := os.OpenFile(e.eventsPath(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		return
	}
	if st, err := f.Stat(); err == nil && st.Size() > maxEventsFile {
		// Whoever comes first rotates; the second finds a short file under the name, or none.
		if now, err := os.Stat(e.eventsPath()); err == nil && os.SameFile(st, now) {
			_ = os.Rename(e.eventsPath(), e.eventsPath()+".1")
		}
	}
}

// EventOptions choose events. The zero times mean: from now on, for ever.
type EventOptions struct {
	Since, Until time.Time
	Match        func(Event) bool // nil means all
	Each         func(Event) error
}

// Events calls Each for the events since Since, and then as they come, until Until or until ctx ends.
func (e *Engine) Events(ctx context.Context, o EventOptions) error {
	if err := os.MkdirAll(e.Root.Lib, 0o711); err != nil {
		return err
	}
	tail := -1
	if o.Since.IsZero() {
		tail = 0
	}
	r := &follower{path: e.eventsPath(), tail: tail, line: func(line []byte) (done bool, err error) {
		var ev Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return false, fmt.Errorf("events file %s is damaged: %w", e.eventsPath(), err)
		}
		at := time.Unix(0, ev.TimeNano)
		if !o.Until.IsZero() && at.After(o.Until) {
			return true, nil
		}
		if at.Before(o.Since) || o.Match != nil && !o.Match(ev) {
			return false, nil
		}
		return false, o.Each(ev)
	}}
	return r.follow(ctx, func() bool { return o.Until.IsZero() || time.Now().Before(o.Until) })
}
