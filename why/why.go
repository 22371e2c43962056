// Package why tells of a thing in the kernel what made it and what it is for: a firewall rule, a link, a route, a mount, a cgroup, a
// namespace. Of what mydocker made, the records tell. What others made is known by the names, comments and places that their
// programs use (makers.go); what fits none of them was made by hand, or by a program that leaves no name.
//
// It reads and never changes anything.
package why

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/world"
)

// The kinds of things.
const (
	KindRule      = "rule"
	KindLink      = "link"
	KindRoute     = "route"
	KindMount     = "mount"
	KindCgroup    = "cgroup"
	KindNamespace = "namespace"
)

// Kinds are all of them, in the order in which they are looked for.
func Kinds() []string {
	return []string{KindLink, KindNamespace, KindRule, KindRoute, KindMount, KindCgroup}
}

// Answer is what is known of one thing.
type Answer struct {
	Kind    string
	Name    string // the thing, as the kernel shows it
	Where   string // the namespace that it is in: "host", "web"
	Maker   Maker
	For     string   // "container web", "network br0"; "" when nobody of ours
	Purpose []string // sentences
	// Evidence is how that is known: a record, a name, a comment.
	Evidence []string
	Look     string // a command that shows it
	Undo     string // a command that takes it away in the right way
}

// Question is what is asked, and where to look.
type Question struct {
	World *world.World
	Texts *lang.Catalogue
	Kind  string // "" for any
	Thing string
}

// ErrUnknown says that there is no such thing.
var ErrUnknown = errors.New("nothing of that name is here")

const most = 8 // answers; a name that fits more is too short

// Ask looks for everything that the words may mean.
func Ask(ctx context.Context, q Question) (answers []Answer, err error) {
	q.Thing = strings.TrimSpace(q.Thing)
	if q.Thing == "" {
		return nil, errors.New("what about? name a rule, a link, a route, a mount, a cgroup or a namespace")
	}
	for _, finder := range []struct {
		kind string
		find func(context.Context, *Question) ([]Answer, error)
	}{
		{KindLink, findLinks}, {KindNamespace, findNamespaces}, {KindRule, findRules},
		{KindRoute, findRoutes}, {KindMount, findMounts}, {KindCgroup, findCgroups},
	} {
		if q.Kind != "" && q.Kind != finder.kind {
			continue
		}
		found, err := finder.find(ctx, &q)
		if err != nil {
			return nil, err
		}
		answers = append(answers, found...)
	}
	if len(answers) == 0 {
		name, _, _ := strings.Cut(q.Thing, ":")
		if c := q.World.Container(name); c != nil && c.Namespace == nil {
			return nil, fmt.Errorf("container %s is not running (mydocker start %s): nothing of it is in the kernel", c.Name, c.Name)
		}
		return nil, fmt.Errorf("%q: %w", q.Thing, ErrUnknown)
	}
	return answers, nil
}

// Text is the answers for a reader.
func Text(answers []Answer, texts *lang.Catalogue, columns int) string {
	var b strings.Builder
	for i, a := range answers {
		if i == most {
			b.WriteString("\n" + texts.Text("why.more", "count", len(answers)-most) + "\n")
			break
		}
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(texts.Text("why.kind."+a.Kind) + " " + a.Name)
		if a.Where != "" {
			b.WriteString("  (" + place(a.Where, texts) + ")")
		}
		b.WriteString("\n")
		maker := a.Maker.text(texts)
		if a.For != "" {
			maker = texts.Text("why.made-for", "maker", maker, "what", texts.Owner(a.For))
		}
		rows := [][2]string{{"why.label.maker", maker}}
		for _, p := range a.Purpose {
			rows = append(rows, [2]string{"why.label.purpose", p})
		}
		for _, e := range a.Evidence {
			rows = append(rows, [2]string{"why.label.evidence", e})
		}
		if a.Look != "" {
			rows = append(rows, [2]string{"why.label.look", a.Look})
		}
		if a.Undo != "" {
			rows = append(rows, [2]string{"why.label.undo", a.Undo})
		}
		writeRows(&b, rows, texts, columns)
	}
	return b.String()
}

// writeRows puts labels and texts in two columns. A label stands once.
func writeRows(b *strings.Builder, rows [][2]string, texts *lang.Catalogue, columns int) {
	wide := 0
	for _, row := range rows {
		wide = max(wide, lang.Width(texts.Text(row[0])))
	}
	last := ""
	for _, row := range rows {
		label := texts.Text(row[0])
		if row[0] == last {
			label = ""
		}
		last = row[0]
		for _, line := range strings.Split(lang.Wrap(row[1], max(columns-wide-4, 20)), "\n") {
			b.WriteString("  " + lang.Pad(label, wide) + "  " + line + "\n")
			label = ""
		}
	}
}

// place is a namespace in words.
func place(name string, texts *lang.Catalogue) string {
	if name == "host" {
		return texts.Text("why.host")
	}
	return texts.Text("why.in-namespace", "name", name)
}

// ours is the maker and the beneficiary of what a record of ours speaks of.
func (a *Answer) ours(o world.Owner) bool {
	if !o.Ours() {
		return false
	}
	a.Maker = Maker{ID: "mydocker"}
	if o.Kind == "container" || o.Kind == "network" {
		a.For = o.String()
		switch o.Kind {
		case "container":
			a.Undo = "mydocker stop " + o.Name
		case "network":
			a.Undo = "mydocker network rm " + o.Name
		}
	}
	return true
}

// other is the maker of what is none of ours.
func (a *Answer) other(m Maker, evidence string) {
	a.Maker = m
	if evidence != "" && !slices.Contains(a.Evidence, evidence) {
		a.Evidence = append(a.Evidence, evidence)
	}
}
