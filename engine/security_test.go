package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/container"
)

// TestLabelRefused: a label that nobody would hold the container to is refused before there is any effect; disable asks for none. (What
// labels do where there is SELinux is shown in a virtual machine, by test/vm.sh.)
func TestLabelRefused(t *testing.T) {
	if container.HasSELinux() {
		t.Skip("this host has SELinux")
	}
	e := &Engine{}
	for opt, want := range map[string]string{
		"label=disable": "", "label:disable": "", "label=type:container_t": "--security-opt label=type:container_t: this host has no SELinux", "label:level:s0": "--security-opt label=level:s0: ",
	} {
		d := new(Definition)
		d.Options.Security.SecurityOpt = []string{opt}
		err := errors.Join(readSecurityOpts(&d.Options), e.chooseLabels(d))
		if want == "" && err != nil || want != "" && (!errors.Is(err, errors.ErrUnsupported) || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v", opt, err)
		}
	}
}
