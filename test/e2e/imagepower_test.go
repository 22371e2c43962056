package e2e

import (
	"strings"
	"testing"
)

// TestImagesAfterAPowerFailure: images are settled by a process that a command leaves behind. When the machine stops before, the next
// start of a container, new or old, has the right files, or is told to pull.
func TestImagesAfterAPowerFailure(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	const records = "/var/lib/mydocker/images/ids/"
	must(t, "image", "bootstrap", "-q")
	eventually(t, func() string {
		return strings.TrimSpace(sh(t, "jq -r '.boot // empty' "+records+"*.json; pgrep -fx 'mydocker .* image settle' || :"))
	})
	must(t, "create", "--name", "old", "--net", "none", "busybox", "echo", "hi")
	// What the disk would have if the power had failed a moment after bootstrap.
	fails := func(damage string) {
		sh(t, `rm /run/mydocker/images-checked; cd `+records+` && for r in *.json; do jq '.boot = "the one before"' "$r" >x && mv x "$r"; done; cd /var/lib/mydocker && `+damage)
	}
	for line, want := range map[string]string{"run --rm --net none busybox echo hi": "hi", "start -a old": "hi", "start old": "old", "restart old": "old"} {
		args := strings.Fields(line)
		fails("truncate -s 1000 layers/*/fs/bin/busybox")
		got := my(t, args...)
		said := strings.Contains(got.err, "the machine stopped before image busybox:latest was wholly on the disk: verifying it, and unpacking it again\n")
		if got.code != 0 || strings.TrimSpace(got.out) != want || !said {
			t.Errorf("%v: status %d, %q, %s", args, got.code, got.out, got.err)
		}
		if got = my(t, args...); got.code != 0 || got.err != "" {
			t.Errorf("%v once more: status %d, %s", args, got.code, got.err)
		}
	}
	fails("for b in images/blobs/sha256/*; do truncate -s -1 $b; done; truncate -s 1000 layers/*/fs/bin/busybox")
	got := my(t, "run", "--rm", "--pull", "never", "busybox", "true")
	match(t, "a damaged image", got.err, `(?s)WARNING: .* busybox:latest .* is removed; pull or load it again\n.*no image "busybox" here`)
	equal(t, "its status", got.code, 125)
	got = my(t, "start", "-a", "old")
	match(t, "a container of it", got.err, `the layers of image \w+ are damaged: .*; pull or load the image again`)
	if equal(t, "what is left", sh(t, "ls /var/lib/mydocker/layers /var/lib/mydocker/images/blobs/sha256 /var/lib/mydocker/images/names | grep -v : || :"), ""); got.code == 0 {
		t.Error("a container without its image was started")
	}
	must(t, "image", "bootstrap", "-q")
	equal(t, "with the image that is back", must(t, "start", "-a", "old"), "hi")
}
