package explain

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// columns is the width of a screen: that of the terminal on which every text still fits.
const columns = 80

// Screen is the text of one topic, with values of the machine as they are now.
func Screen(t Topic, texts *lang.Catalogue, m *Machine) string {
	var b strings.Builder
	b.WriteString(texts.Text("explain."+t.Name+".title") + "\n\n")
	b.WriteString(lang.Wrap(texts.Text("explain."+t.Name+".body"), columns) + "\n")
	if len(t.Live) > 0 {
		b.WriteString("\n" + texts.Text("explain.heading.live") + "\n")
		b.WriteString(liveLines(t.Live, texts, m))
	}
	if len(t.Try) > 0 {
		b.WriteString("\n" + texts.Text("explain.heading.try") + "\n")
		for _, command := range t.Try {
			b.WriteString("  $ " + command + "\n")
		}
	}
	b.WriteString("\n" + texts.Text("explain.heading.read") + "\n")
	for _, p := range t.Read {
		b.WriteString("  " + lang.Pad(p.File, 28) + " " + strings.Join(p.Names, ", ") + "\n")
	}
	b.WriteString("\n" + texts.Text("explain.heading.see", "topics", texts.List(t.See)) + "\n")
	return b.String()
}

// liveLines are "label  value", the values in one column.
func liveLines(names []string, texts *lang.Catalogue, m *Machine) string {
	const most = 36 // columns of the labels
	wide := 0
	for _, name := range names {
		wide = max(wide, min(most, lang.Width(texts.Text("explain.live."+name))))
	}
	var b strings.Builder
	for _, name := range names {
		label := texts.Text("explain.live." + name)
		for _, value := range liveValue(name, texts, m) {
			b.WriteString("  " + lang.Pad(label, wide) + "  " + lang.Clip(value, columns-wide-4) + "\n")
			label = ""
		}
	}
	return b.String()
}

// liveValue reads one value. What cannot be read says why: a learner without root sees what is kept from him.
func liveValue(name string, texts *lang.Catalogue, m *Machine) []string {
	values, err := liveValues()[name](m)
	if errors.Is(err, fs.ErrPermission) {
		return []string{texts.Text("explain.not-root")}
	}
	if err != nil {
		return []string{texts.Text("explain.unavailable", "reason", err)}
	}
	const shown = 3 // lines
	switch n := len(values); {
	case n == 0:
		return []string{texts.Text("explain.none")}
	case n > shown:
		return append(values[:shown:shown], texts.Text("explain.more", "count", n))
	default:
		return values
	}
}

// Index is the list of all topics, by group.
func Index(texts *lang.Catalogue) string {
	var b strings.Builder
	b.WriteString(texts.Text("explain.heading.topics") + "\n")
	group := ""
	for _, t := range Topics() {
		if t.Group != group {
			group = t.Group
			b.WriteString("\n" + texts.Text("explain.group."+group) + "\n")
		}
		title := texts.Text("explain." + t.Name + ".title")
		_, what, ok := strings.Cut(title, ": ")
		if !ok {
			_, what, _ = strings.Cut(title, "：")
		}
		b.WriteString("  " + lang.Pad(t.Name, 14) + what + "\n")
	}
	return b.String()
}
