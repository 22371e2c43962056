package image

import (
	"context"
	"os"
	"strings"
	"testing"
)

// TestBootstrapDebian has a stand-in for mmdebstrap, and one for debootstrap: what Debian's mirrors have is not ours to test.
func TestBootstrapDebian(t *testing.T) {
	path := os.Getenv("PATH")
	for tool, script := range map[string]string{
		"mmdebstrap":  "#!/bin/sh\ntest \"$1 $2 $3 $4\" = '--variant=minbase --format=tar testing -' || exit 3\ncd $(mktemp -d) && mkdir etc && echo 13 > etc/debian_version && tar -c .\n",
		"debootstrap": "#!/bin/sh\ntest \"$1 $2\" = '--variant=minbase testing' || exit 3\nmkdir -p $3/etc && echo 13 > $3/etc/debian_version\n",
	} {
		bin := t.TempDir()
		t.Setenv("PATH", path)
		if err := os.WriteFile(bin+"/"+tool, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, "sh", "-ec", "for p in mkdir mktemp tar sh; do ln -s $(command -v $p) "+bin+"/$p; done")
		t.Setenv("PATH", bin)
		s := newStore(t)
		img, err := s.Bootstrap(context.Background(), BootstrapOptions{From: "debian", Suite: "testing"})
		if err != nil {
			t.Fatal(tool, err)
		}
		if data, err := os.ReadFile(mounted(t, s, img) + "etc/debian_version"); err != nil || string(data) != "13\n" || img.RepoTags[0] != "debian:testing" {
			t.Errorf("%s: %q, %v, %v", tool, data, err, img.RepoTags)
		}
		failed := newStore(t)
		if _, err := failed.Bootstrap(context.Background(), BootstrapOptions{From: "debian", Suite: "absent"}); err == nil || !strings.Contains(err.Error(), tool+" --variant=minbase") {
			t.Errorf("%s fails: %v", tool, err)
		}
		wantEmpty(t, failed)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := newStore(t).Bootstrap(context.Background(), BootstrapOptions{From: "debian"}); err == nil || !strings.Contains(err.Error(), "apt-get install mmdebstrap") {
		t.Errorf("without a tool: %v", err)
	}
}
