package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"

	"github.com/mydocker/mydocker/image"
)

// progress shows how far the layers of a pull or push are: on a terminal one line for each, kept up to date in place;
// elsewhere a line whenever a layer comes to a new state. It goes to standard error, where it is in nobody's way.
type progress struct {
	out      io.Writer
	terminal bool
	width    int

	mu     sync.Mutex
	order  []string
	latest map[string]image.Event
	drawn  int // lines on the screen that are ours
	last   time.Time
}

// redraw is the least time between two pictures.
const redraw = 100 * time.Millisecond

func (s *session) newProgress() *progress {
	p := &progress{out: s.streams.Err, latest: make(map[string]image.Event)}
	if term, _ := s.lookup("TERM"); term != "dumb" && isTerminal(s.streams.Err) {
		p.terminal, p.width = true, terminalWidth(s.streams.Err)
	}
	return p
}

// tell takes one piece of news; the goroutines of several layers call it.
func (p *progress) tell(ev image.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.latest[ev.ID]
	if !known {
		p.order = append(p.order, ev.ID)
	}
	p.latest[ev.ID] = ev
	if !p.terminal {
		if before.Status != ev.Status && !moving(ev.Status) {
			fmt.Fprintf(p.out, "%s: %s\n", ev.ID, ev.Status)
		}
		return
	}
	if before.Status != ev.Status || time.Since(p.last) >= redraw {
		p.draw()
	}
}

// moving says whether a state has a length that changes all the time.
func moving(status string) bool {
	switch status {
	case "Downloading", "Extracting", "Pushing":
		return true
	}
	return false
}

// done leaves the last picture on the screen.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && len(p.order) > 0 {
		p.draw()
	}
}

// draw writes all lines anew over the ones that are there.
func (p *progress) draw() {
	p.last = time.Now()
	var b bytes.Buffer
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	for _, id := range p.order {
		fmt.Fprintf(&b, "\r%s\x1b[K\n", progressLine(p.latest[id], p.width))
	}
	p.drawn = len(p.order)
	p.out.Write(b.Bytes()) //nolint:errcheck // a terminal that is gone is no reason to stop the work
}

// progressLine is "a1b2c3d4e5f6: Downloading [=====>     ]  12.3MB/45MB", cut to the width of the terminal.
func progressLine(ev image.Event, width int) string {
	line := ev.ID + ": " + ev.Status
	if moving(ev.Status) && ev.Total > 0 {
		const length = 50
		line += " "
		if width == 0 || width > 110 {
			full := int(min(ev.Current, ev.Total) * length / ev.Total)
			bar := strings.Repeat("=", full)
			if full < length {
				bar += ">" + strings.Repeat(" ", length-full-1)
			}
			line += "[" + bar + "]  "
		}
		line += units.HumanSizeWithPrecision(float64(ev.Current), 4) + "/" + units.HumanSizeWithPrecision(float64(ev.Total), 4)
	}
	if width > 0 && len(line) >= width {
		line = line[:width-1]
	}
	return line
}

// watcher is what a pull or push reports to; nil, with -q.
func (s *session) watcher(quiet bool) (tell image.Progress, done func()) {
	if quiet {
		return nil, func() {}
	}
	p := s.newProgress()
	return p.tell, p.done
}
