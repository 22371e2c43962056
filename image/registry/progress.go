package registry

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mydocker/mydocker/image"
)

// Printer shows how a pull or push goes on, as Docker does: on a terminal one line for each layer, with a bar, that is
// written over; elsewhere a plain line for each change of state, without bars. The libraries for bars bring tables of
// character widths that every process would pay for at its start; the text here is plain ASCII.
type Printer struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	width    int
	order    []string
	last     map[string]image.Event
	drawn    int // lines on the screen
	at       time.Time
}

// NewPrinter writes to out. width is the terminal's number of columns; 0 stands for something that is no terminal.
func NewPrinter(out io.Writer, width int) *Printer {
	return &Printer{out: out, terminal: width > 0, width: width, last: map[string]image.Event{}}
}

// redrawEvery keeps the terminal from being the slowest part of a pull.
const redrawEvery = 80 * time.Millisecond

// Tell takes one piece of news; it is an image.Progress.
func (p *Printer) Tell(e image.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.last[e.ID]
	if !known {
		p.order = append(p.order, e.ID)
	}
	p.last[e.ID] = e
	changed := !known || before.Status != e.Status
	switch {
	case p.terminal && (changed || time.Since(p.at) >= redrawEvery):
		p.draw()
	case !p.terminal && changed && e.Status != "Downloading" && e.Status != "Pushing":
		fmt.Fprintln(p.out, line(e, 0))
	}
}

// Close draws the last state.
func (p *Printer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && len(p.order) > 0 {
		p.draw()
	}
}

// draw goes up to the first line and writes all of them again: ESC[nA moves up, ESC[K clears to the end of the line.
func (p *Printer) draw() {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	for _, id := range p.order {
		b.WriteString("\r" + line(p.last[id], p.width) + "\x1b[K\n")
	}
	p.drawn, p.at = len(p.order), time.Now()
	io.WriteString(p.out, b.String())
}

// line is "a1b2c3d4e5f6: Downloading [=====>     ]  12.3MB/45.6MB". It is never wider than the terminal: a wrapped line
// would spoil the counting of lines.
func line(e image.Event, width int) string {
	text := e.ID + ": " + e.Status
	if width == 0 {
		return text
	}
	if e.Total > 0 && e.Current > 0 && e.Current <= e.Total {
		amount := fmt.Sprintf("  %s/%s", size(e.Current), size(e.Total))
		if room := min(50, width-len(text)-len(amount)-5); room >= 10 {
			done := int(int64(room) * e.Current / e.Total)
			text += " [" + strings.Repeat("=", done) + ">" + strings.Repeat(" ", room-done) + "]"
		}
		text += amount
	}
	if len(text) >= width {
		text = text[:width-1]
	}
	return text
}

// size writes bytes as Docker does: powers of a thousand, four digits.
func size(n int64) string {
	v, units := float64(n), []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	i := 0
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	return fmt.Sprintf("%.4g%s", v, units[i])
}
