package image

import "testing"

// Layers are handed over one by one only where overlayfs takes them so; elsewhere it would say so too late.
func TestReleaseTakesParts(t *testing.T) {
	for release, want := range map[string]bool{
		"6.8.0": true, "6.18.1-cloud": true, "7.0": true, "6.7.12": false, "6.1.0-56-cloud-amd64": false, "5.14.0-427.el9": false, "odd": false,
	} {
		if got := releaseTakesParts(release); got != want {
			t.Errorf("%s: %v", release, got)
		}
	}
}
