package cli

import (
	"runtime"
	"testing"
)

// TestPlatformOfWhatIsHere: --platform of the commands that take an image as it is.
func TestPlatformOfWhatIsHere(t *testing.T) {
	busyboxImage(t)
	here := "linux/" + runtime.GOARCH
	for _, words := range [][]string{{"history", "-q"}, {"image", "inspect", "-f", "{{.Id}}"}, {"save", "-o", t.TempDir() + "/box.tar"}} {
		my(t, append(words, "--platform", here, "busybox")...)
		refused(t, 1, "not for the platform linux/s390x", append(words, "--platform", "linux/s390x", "busybox")...)
		refused(t, 1, "invalid platform", append(words, "--platform", "a/b/c/d", "busybox")...)
	}
	host := newRegistry(t, "")
	my(t, "tag", "busybox", host+"/box:1")
	my(t, "push", "--platform", here, host+"/box:1")
	refused(t, 1, "not for the platform linux/s390x", "push", "--platform", "linux/s390x", host+"/box:1")
	refused(t, 1, "not for the platform linux/s390x", "rmi", "--platform", "linux/s390x", host+"/box:1")
	my(t, "rmi", "--no-prune", "--platform", here, host+"/box:1")

	archive := t.TempDir() + "/box.tar"
	my(t, "save", "-o", archive, "busybox")
	equal(t, "load --platform", my(t, "load", "--platform", here, "-i", archive), "Loaded image: busybox:latest\n")
	refused(t, 1, "not for linux/s390x", "load", "--platform", "linux/s390x", "-i", archive)
}
