package lab_test

import (
	"fmt"
	"testing"

	"github.com/mydocker/mydocker/lab"
)

// Other ways than the solution are taken. The n-th walk through a lab goes the n-th other way wherever there is one.
func TestOtherWays(t *testing.T) {
	for _, name := range courseNames(t) {
		l, err := lab.Library{Language: "en"}.Load(name)
		must(t, err)
		walks, last := 0, 0
		for at, step := range l.Steps {
			if len(step.Right) > 0 {
				walks, last = max(walks, len(step.Right)), at
			}
		}
		for n := range walks {
			t.Run(fmt.Sprintf("%s-%d", name, n+1), func(t *testing.T) {
				t.Parallel()
				d := newDesk(t)
				_, _, err := d.Start(name)
				must(t, err)
				for _, step := range l.Steps[:last+1] {
					way := step.Solution
					if n < len(step.Right) {
						way = step.Right[n]
					}
					r, err := d.Check(name, do(t, d, way, true))
					must(t, err)
					if r.Failed != nil {
						t.Fatalf("%s: this is right, and is told %q (%s):\n%s", step.Title, r.Failed.Fail, r.Evidence, way.Script)
					}
				}
			})
		}
	}
}
