package topology

import (
	"slices"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// Text draws for a terminal that is so many columns wide. A box that is wider than that is drawn all the same.
//
//	┌─ host ────────────────────────────────┐
//	│ ip_forward 1                          │
//	│ *:8080/tcp → 172.18.0.2:80 (web)      │
//	│ ┌─ bridge br0 ──────────────────────┐ │
//	│ │ 172.18.0.1/16                     │ │
//	│ └────────┬────────────────┬─────────┘ │
//	│   veth3f0c51d9a12   veth81b0e2f4c77   │
//	└──────────┼────────────────┼───────────┘
//	           │                │
//	   ┌───────┴───────┐ ┌──────┴────────┐
//	   │ container web │ │ container db  │
//	   │ eth0 …        │ │ eth0 …        │
//	   └───────────────┘ └───────────────┘
func Text(v *View, texts *lang.Catalogue, columns int) string {
	d := drawing{writer: writer{v, texts}, columns: columns}
	var parts []string
	for _, p := range v.pictures() {
		parts = append(parts, d.picture(p))
	}
	if faults := d.faults(); len(faults) > 0 {
		parts = append(parts, lang.Wrap(strings.Join(faults, "\n"), columns)+"\n")
	}
	return strings.Join(parts, "\n")
}

type drawing struct {
	writer
	columns int
}

// block is a group, or as much of one as fits into the width, laid out.
type block struct {
	s      *Space // the namespace on top
	bridge *Link
	title  string   // of the bridge
	inside []string // in the bridge; without one, over the labels of the cables
	kids   []kid
	width  int
}

// kid is a box below, and the cable that leads to it.
type kid struct {
	leg
	label string
	lines []string
	width int
}

const gap = 1 // columns between two boxes

// picture draws one: rows of blocks, each row a part of the top's box with what hangs on it.
func (d drawing) picture(p picture) string {
	var rows [][]block
	var used []int
	for _, b := range d.blocks(p) {
		at := slices.IndexFunc(used, func(have int) bool { return have+gap+b.width <= d.columns-4 })
		if at < 0 {
			at = len(rows)
			rows, used = append(rows, nil), append(used, -gap)
		}
		rows[at] = append(rows[at], b)
		used[at] += gap + b.width
	}
	if len(rows) == 0 {
		rows = [][]block{nil}
	}
	// All parts of the top's box are as wide as the widest.
	head, title := d.onTop(p), d.title(p.top)
	width := lang.Width(title) + 6
	if !p.again {
		for _, line := range head {
			width = max(width, min(lang.Width(line), d.columns-4)+4)
		}
	} else {
		head = nil
	}
	for _, row := range rows {
		w := 4 - gap
		for _, b := range row {
			w += b.width + gap
		}
		width = max(width, w)
	}
	c := &canvas{}
	for i, row := range rows {
		if i > 0 {
			head = nil
			title = d.texts.Text("topology.continued", "title", d.title(p.top))
		}
		d.row(c, len(c.rows), title, head, row, width)
	}
	return c.String()
}

// blocks lays the groups out, and cuts those that are too wide.
func (d drawing) blocks(p picture) (list []block) {
	for _, g := range p.groups {
		var kids []kid
		for _, l := range g.legs {
			kids = append(kids, d.kid(p.top, g.bridge, l))
		}
		for first := true; first || len(kids) > 0; first = false {
			b := block{s: p.top, bridge: g.bridge}
			if g.bridge != nil {
				b.title = d.bridgeTitle(p.top, g.bridge)
				if !first {
					b.title = d.texts.Text("topology.continued", "title", d.texts.Text("topology.bridge", "name", g.bridge.Name))
				} else {
					b.inside = []string{d.bridge(p.top, g.bridge)}
				}
			} else if len(kids) > 0 {
				b.inside = slices.Clone(kids[0].outer.Addresses)
			}
			frame := 0
			if b.bridge != nil {
				frame = 4
			}
			b.width = lang.Width(b.title) + 6
			for _, line := range b.inside {
				b.width = max(b.width, lang.Width(line)+frame)
			}
			used := frame - gap
			for len(kids) > 0 && (len(b.kids) == 0 || used+gap+kids[0].width <= d.columns-4) {
				b.kids = append(b.kids, kids[0])
				used += gap + kids[0].width
				kids = kids[1:]
			}
			b.width = max(b.width, used)
			list = append(list, b)
		}
	}
	return list
}

func (d drawing) kid(top *Space, bridge *Link, l leg) kid {
	k := kid{leg: l, label: l.outer.Name}
	if l.cable.Kind != "veth" {
		k.label += " (" + l.cable.Kind + ")"
	}
	if bridge != nil && len(l.outer.Addresses) > 0 { // a port has no use for one: worth a look
		k.label += " " + strings.Join(l.outer.Addresses, " ")
	}
	if !l.outer.Up {
		k.label += " " + d.texts.Text("topology.down")
	}
	k.label += d.marks(top.Name, l.outer.Name)
	k.lines = []string{d.title(l.space)}
	if l.seen {
		k.lines = append(k.lines, d.link(l.space, l.inner))
	} else {
		k.lines = append(k.lines, d.inBox(l.space)...)
	}
	k.width = lang.Width(k.label) + 2
	for _, line := range k.lines {
		k.width = max(k.width, lang.Width(line)+4)
	}
	return k
}

// row draws a part of the top's box and what hangs on it, from line y on.
func (d drawing) row(c *canvas, y int, title string, head []string, row []block, width int) {
	tall := 0 // lines of the tallest block, without the labels of its cables
	cables := false
	for _, b := range row {
		h := len(b.inside)
		if b.bridge != nil {
			h += 2
		}
		tall = max(tall, h)
		cables = cables || len(b.kids) > 0
	}
	labels := 0
	if cables {
		labels = 1
	}
	height := 2 + len(head) + tall + labels
	c.box(0, y, width, height, title)
	for i, line := range head {
		c.put(2, y+1+i, lang.Clip(line, max(width-4, 10)))
	}
	x := 2
	for _, b := range row {
		d.block(c, x, y+1+len(head), tall, y+height-1, b)
		x += b.width + gap
	}
}

// block draws a bridge with its cables. Its upper left corner is x, y; bottom is the line of the top's lower border.
func (d drawing) block(c *canvas, x, y, tall, bottom int, b block) {
	under := y + tall - 1 // the last line above the labels
	kx := x
	if b.bridge != nil {
		c.box(x, y, b.width, tall, b.title)
		for i, line := range b.inside {
			c.put(x+2, y+1+i, line)
		}
		kx = x + 2
	}
	for _, k := range b.kids {
		middle := kx + k.width/2
		line := "│"
		if !k.cable.Up {
			line = "┊"
		}
		if b.bridge != nil {
			c.set(middle, under, "┬")
		} else {
			for i, text := range b.inside {
				c.put(max(x, middle-lang.Width(text)/2), under-len(b.inside)+1+i, text)
			}
		}
		c.put(middle-lang.Width(k.label)/2, under+1, k.label)
		c.set(middle, bottom, "┼")
		c.set(middle, bottom+1, line)
		c.box(kx, bottom+2, k.width, len(k.lines)+2, "")
		c.set(middle, bottom+2, "┴")
		for i, text := range k.lines {
			c.put(kx+2, bottom+3+i, text)
		}
		kx += k.width + gap
	}
}
