package lang

import (
	"fmt"
	"io"
	"strings"
)

// Table prints rows in columns that stand under each other, also where a cell is Chinese (text/tabwriter takes each character for one
// column). Between two columns are three spaces.
func Table(w io.Writer, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i < len(row)-1 {
				cell = Pad(cell, widths[i]+3)
			}
			line.WriteString(cell)
		}
		if _, err := fmt.Fprintln(w, line.String()); err != nil {
			return err
		}
	}
	return nil
}
