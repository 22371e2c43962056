package topology

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// JSON is the view itself: for programs.
func JSON(v *View) (string, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return string(data) + "\n", err
}

// Dot is the view in the language of Graphviz: a cluster for each namespace, a node for each link.
func Dot(v *View, texts *lang.Catalogue) string {
	w := writer{v, texts}
	ids := identify(v)
	var b strings.Builder
	b.WriteString("graph topology {\n  graph [rankdir=LR, fontname=\"sans-serif\"];\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n")
	for i, s := range v.Spaces {
		lines := w.about(s)
		if s.Kind == "host" {
			lines = append(lines, w.ways()...)
		}
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s;\n", i, dotQuote(strings.Join(append([]string{w.title(s)}, lines...), "\n")))
		for _, l := range s.Links {
			if !l.Loopback || !l.Up {
				fmt.Fprintf(&b, "    %s [label=%s%s];\n", ids[End{s.Name, l.Name}], dotQuote(nodeText(w, s, l)), dotShape(l))
			}
		}
		if len(s.Links) == 0 || len(s.Links) == 1 && s.Links[0].Loopback && s.Links[0].Up {
			fmt.Fprintf(&b, "    empty_%d [style=invis];\n", i) // or the namespace would not be drawn
		}
		b.WriteString("  }\n")
	}
	for _, s := range v.Spaces {
		for _, l := range s.Links {
			if l.Master != "" && s.Link(l.Master) != nil {
				fmt.Fprintf(&b, "  %s -- %s;\n", ids[End{s.Name, l.Master}], ids[End{s.Name, l.Name}])
			}
		}
	}
	for _, c := range v.Cables {
		style := "bold"
		if !c.Up {
			style = "dashed"
		}
		if ids[c.A] != "" && ids[c.B] != "" {
			fmt.Fprintf(&b, "  %s -- %s [style=%s, label=%s];\n", ids[c.A], ids[c.B], style, dotQuote(c.Kind))
		}
	}
	if faults := w.faults(); len(faults) > 0 {
		fmt.Fprintf(&b, "  label=%s; labelloc=b; labeljust=l;\n", dotQuote(strings.Join(faults, "\\l")+"\\l"))
	}
	b.WriteString("}\n")
	return b.String()
}

func dotShape(l *Link) string {
	if l.Kind == "bridge" {
		return ", style=filled, fillcolor=\"#dbe9f6\""
	}
	return ""
}

// dotQuote writes a text as Graphviz reads it: \n and \l are line breaks there.
func dotQuote(text string) string {
	text = strings.ReplaceAll(text, `"`, `\"`)
	return `"` + strings.ReplaceAll(text, "\n", `\n`) + `"`
}

// Mermaid is the view as a flowchart, which many web sites draw from Markdown.
func Mermaid(v *View, texts *lang.Catalogue) string {
	w := writer{v, texts}
	ids := identify(v)
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, s := range v.Spaces {
		fmt.Fprintf(&b, "  subgraph s%d[%s]\n", i, mermaidQuote(w.title(s)))
		lines := w.about(s)
		if s.Kind == "host" {
			lines = append(lines, w.ways()...)
		}
		if len(lines) == 0 && len(s.Links) <= 1 {
			lines = []string{"lo"}
		}
		if len(lines) > 0 {
			fmt.Fprintf(&b, "    about%d[%s]\n", i, mermaidQuote(strings.Join(lines, "\n")))
		}
		for _, l := range s.Links {
			if !l.Loopback || !l.Up {
				fmt.Fprintf(&b, "    %s[%s]\n", ids[End{s.Name, l.Name}], mermaidQuote(nodeText(w, s, l)))
			}
		}
		b.WriteString("  end\n")
	}
	for _, s := range v.Spaces {
		for _, l := range s.Links {
			if l.Master != "" && s.Link(l.Master) != nil {
				fmt.Fprintf(&b, "  %s --- %s\n", ids[End{s.Name, l.Master}], ids[End{s.Name, l.Name}])
			}
		}
	}
	for _, c := range v.Cables {
		line := "==="
		if !c.Up {
			line = "-.-"
		}
		if ids[c.A] != "" && ids[c.B] != "" {
			fmt.Fprintf(&b, "  %s %s|%s| %s\n", ids[c.A], line, c.Kind, ids[c.B])
		}
	}
	if faults := w.faults(); len(faults) > 0 {
		fmt.Fprintf(&b, "  faults[%s]\n  style faults stroke:#b3261e\n", mermaidQuote(strings.Join(faults, "\n")))
	}
	return b.String()
}

// mermaidQuote: entities stand for what would end the text.
func mermaidQuote(text string) string {
	text = strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", "<br/>").Replace(text)
	return `"` + text + `"`
}

// nodeText is a link in a node of its own.
func nodeText(w writer, s *Space, l *Link) string {
	lines := append([]string{l.Name}, l.Addresses...)
	if l.Kind == "bridge" {
		lines[0] = w.bridgeTitle(s, l)
	} else {
		lines[0] += w.marks(s.Name, l.Name)
	}
	if !l.Up {
		lines = append(lines, w.texts.Text("topology.down"))
	}
	return strings.Join(lines, "\n")
}

// identify gives each link a name that the languages of graphs take.
func identify(v *View) map[End]string {
	ids := make(map[End]string)
	for i, s := range v.Spaces {
		for j, l := range s.Links {
			ids[End{s.Name, l.Name}] = fmt.Sprintf("n%d_%d", i, j)
		}
	}
	return ids
}
