package topology

import (
	"testing"

	"github.com/mydocker/mydocker/lang"
)

// Who shares a namespace stands beside the one that it was made for.
func TestTitle(t *testing.T) {
	texts, err := lang.Open("en")
	if err != nil {
		t.Fatal(err)
	}
	w := writer{v: &View{}, texts: texts}
	for want, s := range map[string]*Space{
		"host":                          {Kind: "host", Name: "host"},
		"host + near":                   {Kind: "host", Name: "host", Sharing: []string{"near"}},
		"container web + a + b":         {Kind: "container", container: "web", Sharing: []string{"a", "b"}},
		"container web + a + b + c + …": {Kind: "container", container: "web", Sharing: []string{"a", "b", "c", "d", "e"}},
	} {
		if got := w.title(s); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
