package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/mydocker/mydocker/network"
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
	e.Emit(eventOf(d, action, more...))
}

// eventOf is an event of a container; more are names and values of further attributes.
func eventOf(d *Definition, action string, more ...string) Event {
	attributes := make(map[string]string, len(d.Options.Labels)+2+len(more)/2)
	maps.Copy(attributes, d.Options.Labels)
	attributes["image"], attributes["name"] = d.Options.Image, d.Name
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	return Event{Status: action, ID: d.ID, From: d.Options.Image, Type: "container", Action: action, Actor: Actor{ID: d.ID, Attributes: attributes}}
}

// startEvents tells of a start: who is attached, what was connected and mounted for it, and the start itself.
func (e *Engine) startEvents(d *Definition, attached bool) {
	var all []Event
	if attached {
		all = append(all, eventOf(d, "attach"))
	}
	all = append(all, e.networkEvents(d, "connect")...)
	all = append(all, volumeEvents(d, "mount")...)
	e.Emit(append(all, eventOf(d, "start"))...)
}

// endEvents tells of an end in the same way.
func (e *Engine) endEvents(d *Definition, life Life) {
	var all []Event
	if life.OOMKilled {
		all = append(all, eventOf(d, "oom"))
	}
	seconds := int(life.FinishedAt.Sub(life.StartedAt) / time.Second)
	all = append(all, eventOf(d, "die", "execDuration", strconv.Itoa(seconds), "exitCode", strconv.Itoa(life.ExitCode)))
	all = append(all, e.networkEvents(d, "disconnect")...)
	e.Emit(append(all, volumeEvents(d, "unmount")...)...)
}

// networkEvents are those of all networks that a container is on.
func (e *Engine) networkEvents(d *Definition, action string) (all []Event) {
	for _, ref := range d.Options.networksShown() {
		if n, err := e.networks.Network(ref); err == nil { // else it is gone, and has no id to tell
			all = append(all, networkEventOf(action, n, d))
		}
	}
	return all
}

func networkEventOf(action string, n *network.Network, d *Definition) Event {
	return Event{Type: "network", Action: action, Actor: Actor{ID: n.ID, Attributes: map[string]string{"container": d.ID, "name": n.Name, "type": n.Driver}}}
}

func volumeEvents(d *Definition, action string) (all []Event) {
	for _, m := range d.Options.Mounts {
		if m.Type != "volume" {
			continue
		}
		attributes := map[string]string{"container": d.ID, "driver": "local"}
		if action == "mount" {
			attributes["destination"], attributes["propagation"], attributes["read/write"] = m.Target, m.Propagation, strconv.FormatBool(!m.ReadOnly)
		}
		all = append(all, Event{Type: "volume", Action: action, Actor: Actor{ID: m.Source, Attributes: attributes}})
	}
	return all
}

// ImageEvent tells of an image, by its id, or by its reference where it was pulled or pushed; name is how it is called.
func (e *Engine) ImageEvent(action, id, name string, labels map[string]string) {
	attributes := make(map[string]string, len(labels)+1)
	maps.Copy(attributes, labels)
	attributes["name"] = name
	e.Emit(Event{Status: action, ID: id, Type: "image", Action: action, Actor: Actor{ID: id, Attributes: attributes}})
}

// PruneEvent tells that what is not used of a type was removed, and how many bytes that was.
func (e *Engine) PruneEvent(kind string, reclaimed int64) {
	e.Emit(Event{Type: kind, Action: "prune", Actor: Actor{Attributes: map[string]string{"reclaimed": strconv.FormatInt(reclaimed, 10)}}})
}

// ContainerEvent tells what another package has done with a container: copy, commit, export.
func (e *Engine) ContainerEvent(d *Definition, action string, more ...string) {
	e.containerEvent(d, action, more...)
}

// Emit appends events to the stream, in one write.
func (e *Engine) Emit(events ...Event) {
	var lines []byte
	for _, ev := range events {
		at := time.Now()
		ev.Scope, ev.Time, ev.TimeNano = "local", at.Unix(), at.UnixNano()
		line, err := json.Marshal(ev)
		if err != nil {
			return
		}
		lines = append(append(lines, line...), '\n')
	}
	f, err := os.OpenFile(e.eventsPath(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.Write(lines); err != nil {
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
