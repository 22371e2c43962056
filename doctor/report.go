package doctor

import (
	"fmt"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// Paint puts the words of a report into colours; nil leaves them as they are.
type Paint func(kind, text string) string

// Text is a report for people: what is wrong, by what it is known, and how it is mended.
func (r *Report) Text(texts *lang.Catalogue, paint Paint) string {
	if paint == nil {
		paint = func(_, text string) string { return text }
	}
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s\n  %s\n", paint("fault", f.ID), paint("object", f.Object), f.Cause(texts))
		if len(f.Evidence) > 0 {
			fmt.Fprintf(&b, "  %s\n", texts.Text("doctor.evidence"))
		}
		for _, e := range f.Evidence {
			line := "$ " + e.Command
			if e.Shows != "" {
				line += "\n    " + strings.ReplaceAll(e.Shows, "\n", "\n    ")
			}
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(line, "\n    ", "\n      "))
		}
		fmt.Fprintf(&b, "  %s\n", texts.Text("doctor.mend", "what", f.Mend(texts)))
		for _, c := range f.Commands {
			fmt.Fprintf(&b, "    $ %s\n", paint("command", c))
		}
		b.WriteByte('\n')
	}
	for _, u := range r.Unread {
		fmt.Fprintln(&b, texts.Text("doctor.unread", "what", u))
	}
	if len(r.Findings) == 0 {
		fmt.Fprintln(&b, texts.Text("doctor.healthy"))
	} else {
		fmt.Fprintln(&b, texts.Text("doctor.count", "count", len(r.Findings)))
	}
	return b.String()
}

// Cause is what is wrong, in a sentence.
func (f Finding) Cause(texts *lang.Catalogue) string {
	return texts.Text("doctor."+f.ID+".cause", f.Values...)
}

// Mend is what to do about it, in a sentence.
func (f Finding) Mend(texts *lang.Catalogue) string { return texts.Text("doctor." + f.ID + ".mend") }

// FindingJSON is a finding in `doctor --json`.
type FindingJSON struct {
	ID       string     `json:"id"`
	Object   string     `json:"object"`
	Cause    string     `json:"cause"`
	Evidence []Evidence `json:"evidence"`
	Mend     string     `json:"mend"`
	Commands []string   `json:"commands"`
}

// ReportJSON is what `doctor --json` prints.
type ReportJSON struct {
	Healthy  bool          `json:"healthy"`
	Findings []FindingJSON `json:"findings"`
	Unread   []string      `json:"unread"`
}

// JSON is a report for programs.
func (r *Report) JSON(texts *lang.Catalogue) ReportJSON {
	j := ReportJSON{Healthy: len(r.Findings) == 0, Findings: []FindingJSON{}, Unread: append([]string{}, r.Unread...)}
	for _, f := range r.Findings {
		j.Findings = append(j.Findings, FindingJSON{f.ID, f.Object, f.Cause(texts), append([]Evidence{}, f.Evidence...), f.Mend(texts), append([]string{}, f.Commands...)})
	}
	return j
}
