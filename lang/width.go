package lang

import (
	"strings"
	"unicode"
)

// Width is how many columns of a terminal a text takes: Chinese characters take two (Unicode Standard Annex #11).
func Width(text string) (columns int) {
	for _, r := range text {
		columns += runeWidth(r)
	}
	return columns
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me) || r == 0x200b || r == 0x200d || r == 0xfe0f:
		return 0 // written over the character before
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0x33ff, r >= 0x3400 && r <= 0x4dbf,
		r >= 0x4e00 && r <= 0x9fff, r >= 0xa000 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// Pad fills a text with spaces up to a number of columns.
func Pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-Width(text)))
}

// Clip cuts a text that is wider than a number of columns, and shows by … that it did.
func Clip(text string, columns int) string {
	if Width(text) <= columns {
		return text
	}
	var b strings.Builder
	room := columns - 1
	for _, r := range text {
		if room -= runeWidth(r); room < 0 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + "…"
}

// Wrap breaks each line of a text so that it fits into a number of columns, and keeps its indentation. A line breaks at spaces and between
// Chinese characters, never before a closing mark and never after an opening one (GB/T 15834).
func Wrap(text string, columns int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if Width(line) > columns {
			lines[i] = wrapLine(line, columns)
		}
	}
	return strings.Join(lines, "\n")
}

func wrapLine(line string, columns int) string {
	rest := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(rest)]
	var b strings.Builder
	b.WriteString(indent)
	used := len(indent)
	empty := true // nothing but the indentation on this line yet
	for _, chunk := range chunks(rest) {
		wide := Width(strings.TrimRight(chunk, " "))
		if !empty && used+wide > columns {
			whole := strings.TrimRight(b.String(), " ")
			b.Reset()
			b.WriteString(whole + "\n" + indent)
			used = len(indent)
		}
		b.WriteString(chunk)
		used += Width(chunk)
		empty = false
	}
	return strings.TrimRight(b.String(), " ")
}

// chunks cuts a line into what must stay together: a word with the spaces behind it, one Chinese character with its marks.
func chunks(line string) (list []string) {
	const closing, opening = "，。、；：？！）》」』】”’…", "（《「『【“‘"
	var current []rune
	for _, r := range line {
		if len(current) > 0 {
			last := current[len(current)-1]
			afterSpace := last == ' ' && r != ' '
			wide := runeWidth(r) == 2 || runeWidth(last) == 2
			if afterSpace || wide && r != ' ' && !strings.ContainsRune(closing, r) && !strings.ContainsRune(opening, last) {
				list = append(list, string(current))
				current = nil
			}
		}
		current = append(current, r)
	}
	if len(current) > 0 {
		list = append(list, string(current))
	}
	return list
}
