package topology

import (
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// canvas is a grid of characters. A Chinese character takes two cells, of which the second is empty.
type canvas struct{ rows [][]string }

func (c *canvas) set(x, y int, cell string) {
	for len(c.rows) <= y {
		c.rows = append(c.rows, nil)
	}
	for len(c.rows[y]) <= x {
		c.rows[y] = append(c.rows[y], " ")
	}
	c.rows[y][x] = cell
}

// put writes a text from x on.
func (c *canvas) put(x, y int, text string) {
	for _, r := range text {
		c.set(x, y, string(r))
		if lang.Width(string(r)) == 2 {
			c.set(x+1, y, "")
			x++
		}
		x++
	}
}

// box draws a frame; x, y is its upper left corner. title stands in the upper border.
func (c *canvas) box(x, y, width, height int, title string) {
	c.put(x, y, "┌"+strings.Repeat("─", width-2)+"┐")
	for i := 1; i < height-1; i++ {
		c.put(x, y+i, "│")
		c.put(x+width-1, y+i, "│")
	}
	c.put(x, y+height-1, "└"+strings.Repeat("─", width-2)+"┘")
	if title != "" {
		c.put(x+2, y, " "+title+" ")
	}
}

func (c *canvas) String() string {
	var b strings.Builder
	for _, row := range c.rows {
		b.WriteString(strings.TrimRight(strings.Join(row, ""), " ") + "\n")
	}
	return b.String()
}
