package engine

import (
	"errors"
	"strings"
	"testing"
)

// TestLabelRefused: a label that nobody would hold the container to is refused before there is any effect; disable asks for none.
func TestLabelRefused(t *testing.T) {
	for opt, want := range map[string]string{
		"label=disable": "", "label:disable": "", "label=type:container_t": "--security-opt label=type:container_t: ", "label:level:s0": "--security-opt label:level:s0: ",
	} {
		o := CreateOptions{}
		o.Security.SecurityOpt = []string{opt}
		err := readSecurityOpts(&o)
		if want == "" && err != nil || want != "" && (!errors.Is(err, errors.ErrUnsupported) || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v", opt, err)
		}
	}
}
