package topology

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// The picture in SVG has the namespace on top at the left, as a tall box with its bridges in it, and what hangs on it at the right, in
// rows. A bridge's cables leave it by one trunk, which branches at each row:
//
//	┌ host ───────────┐
//	│ ┌ bridge br0 ─┐ │      ┌────────────┬─ …
//	│ │ 172.18.0.1  ├─┼──────┤  ┌ web ─┐  │ ┌ db ──┐
//	│ └─────────────┘ │      │  └──────┘    └──────┘
//	└─────────────────┘      └────────────┬─ …
//
// Sizes are in pixels; the text is set in a fixed width, so that what fits is known here.
const (
	letter   = 7.25 // the width of a character of 12 px in every usual monospaced font, or a little more
	lineHigh = 17
	pad      = 10
	perRow   = 4
	leftX    = 20
	rowGap   = 40 // between rows: the branch, and the labels of the cables
	colGap   = 24
)

type svg struct {
	writer
	b    strings.Builder
	wide int
}

// SVG draws the view for a web browser, as one image.
func SVG(v *View, texts *lang.Catalogue) string {
	body, width, height := svgBody(v, texts)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d">`+"\n<style>%s</style>\n%s</svg>\n",
		width, height, width, height, svgStyle, body)
}

const svgStyle = `
text{font:12px ui-monospace,"DejaVu Sans Mono","Noto Sans Mono CJK SC",monospace;fill:#1b2733}
.title{font-weight:bold}.label{fill:#51606e;font-size:11px}.warn{fill:#b3261e;font-weight:bold}
rect.host{fill:#f4f6f8;stroke:#51606e}rect.container{fill:#eef7ee;stroke:#3a7d44}rect.namespace{fill:#fdf6e7;stroke:#a9791c}
rect.bridge{fill:#dbe9f6;stroke:#1f5f99}rect{stroke-width:1.4;rx:5}
path{fill:none;stroke:#1f5f99;stroke-width:2}path.down{stroke:#9aa5af;stroke-dasharray:5 4}
rect.faulty{stroke:#b3261e;stroke-width:2.4}`

func svgBody(v *View, texts *lang.Catalogue) (body string, width, height int) {
	d := &svg{writer: writer{v, texts}}
	y := 20
	for _, p := range v.pictures() {
		y = d.picture(p, y) + 30
	}
	for _, line := range d.faults() {
		d.text(leftX, y+12, "warn", line)
		y += lineHigh
	}
	return d.b.String(), d.wide + 20, y
}

// picture draws one, from y on, and gives the y below it.
func (d *svg) picture(p picture, y int) int {
	var head []string
	if !p.again {
		head = d.onTop(p)
	}
	left := textWide(d.title(p.top)) + 2*pad
	for _, line := range head {
		left = max(left, textWide(line)+2*pad)
	}
	for _, g := range p.groups {
		for _, line := range d.groupLines(p.top, g) {
			left = max(left, textWide(line)+4*pad)
		}
	}
	top := y
	y += pad + lineHigh*(1+len(head)) + pad
	type placed struct {
		g    group
		y, h int
	}
	var all []placed
	for _, g := range p.groups {
		lines := d.groupLines(p.top, g)
		h := pad + lineHigh*len(lines)
		end := y + h
		if len(g.legs) > 0 {
			end = max(end, d.legs(p.top, g, leftX+left, y))
		}
		all = append(all, placed{g, y, h})
		y = end + 20
	}
	d.rect(leftX, top, left, y-top, p.top.Kind, d.marks(p.top.Name, "") != "")
	d.text(leftX+pad, top+pad+12, "title", d.title(p.top))
	for i, line := range head {
		d.text(leftX+pad, top+pad+12+lineHigh*(i+1), class(line), line)
	}
	for _, one := range all {
		lines := d.groupLines(p.top, one.g)
		if one.g.bridge != nil {
			d.rect(leftX+pad, one.y, left-2*pad, one.h, "bridge", d.marks(p.top.Name, one.g.bridge.Name) != "")
		}
		for i, line := range lines {
			kind := class(line)
			if i == 0 && one.g.bridge != nil {
				kind = "title"
			}
			d.text(leftX+2*pad, one.y+pad/2+12+lineHigh*i, kind, line)
		}
	}
	d.wide = max(d.wide, leftX+left)
	return y
}

// groupLines are what stands at the left of a group: the bridge, or the outer end of a single cable.
func (d *svg) groupLines(top *Space, g group) []string {
	if g.bridge == nil {
		return []string{d.link(top, g.legs[0].outer)}
	}
	return []string{d.bridgeTitle(top, g.bridge), d.bridge(top, g.bridge)}
}

// legs draws a group's boxes and cables, from x, y on, and gives the y below them.
func (d *svg) legs(top *Space, g group, x, y int) int {
	trunk := x + 20
	start := y + 14 // where the trunk leaves the bridge or the link
	from := x - pad
	if g.bridge == nil {
		from = x // the border of the top's box
	}
	column := 0
	for _, l := range g.legs {
		column = max(column, d.legWidth(top, l))
	}
	const room = 1400 // what a page shows without scrolling
	columns := max(1, min(perRow, (room-trunk)/(column+colGap)))
	low := y
	for row := range slices.Chunk(g.legs, columns) {
		branch := y
		if low == y { // the first row
			branch = start
		}
		boxY := branch + rowGap
		tall := 0
		for i, l := range row {
			bx := trunk + 10 + i*(column+colGap)
			middle := bx + 24
			style := ""
			if !l.cable.Up {
				style = ` class="down"`
			}
			fmt.Fprintf(&d.b, `<path%s d="M%d %d H%d V%d H%d V%d"/>`+"\n", style, from, start, trunk, branch, middle, boxY)
			d.text(middle+6, boxY-8, "label", d.legLabel(top, l))
			tall = max(tall, d.legBox(l, bx, boxY, column))
		}
		low = boxY + tall
		y = low + 14
		d.wide = max(d.wide, trunk+10+len(row)*(column+colGap))
	}
	return low
}

func (d *svg) legLabel(top *Space, l leg) string {
	label := l.outer.Name
	if l.cable.Kind != "veth" {
		label += " (" + l.cable.Kind + ")"
	}
	if !l.outer.Up {
		label += " " + d.texts.Text("topology.down")
	}
	return label + d.marks(top.Name, l.outer.Name)
}

func (d *svg) legLines(l leg) []string {
	if l.seen {
		return []string{d.link(l.space, l.inner)}
	}
	return d.inBox(l.space)
}

func (d *svg) legWidth(top *Space, l leg) int {
	width := max(textWide(d.title(l.space))+2*pad, 30+textWide(d.legLabel(top, l)))
	for _, line := range d.legLines(l) {
		width = max(width, textWide(line)+2*pad)
	}
	return width
}

// legBox draws a namespace's box, and gives its height.
func (d *svg) legBox(l leg, x, y, width int) int {
	lines := d.legLines(l)
	height := pad + lineHigh*(1+len(lines)) + pad/2
	faulty := slices.ContainsFunc(d.v.Faults, func(f Fault) bool { return f.Space == l.space.Name })
	fmt.Fprintf(&d.b, `<g class="space" data-name="%s">`+"\n", html.EscapeString(strings.Join(append([]string{d.title(l.space)}, lines...), " ")))
	d.rect(x, y, width, height, l.space.Kind, faulty)
	d.text(x+pad, y+pad+10, "title", d.title(l.space))
	for i, line := range lines {
		d.text(x+pad, y+pad+10+lineHigh*(i+1), class(line), line)
	}
	d.b.WriteString("</g>\n")
	return height
}

func (d *svg) rect(x, y, width, height int, kind string, faulty bool) {
	if faulty {
		kind += " faulty"
	}
	fmt.Fprintf(&d.b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d"/>`+"\n", kind, x, y, width, height)
}

func (d *svg) text(x, y int, class, text string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(&d.b, `<text x="%d" y="%d"%s xml:space="preserve">%s</text>`+"\n", x, y, class, html.EscapeString(text))
	d.wide = max(d.wide, x+textWide(text))
}

// class marks what is wrong.
func class(line string) string {
	if i := strings.LastIndex(line, " !"); i >= 0 && strings.Trim(line[i+2:], "0123456789") == "" && len(line) > i+2 {
		return "warn"
	}
	return ""
}

func textWide(text string) int { return int(float64(lang.Width(text))*letter) + 1 }
