package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// What Docker's config.json says besides credentials is heeded, and the command line has the last word.
func TestClientConfig(t *testing.T) {
	cleanHost(t)
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"auths": {}, "psFormat": "{{.Names}} is here", "imagesFormat": "image {{.Repository}}", "networksFormat": "network {{.Name}}",
		"volumesFormat": "volume {{.Name}}", "statsFormat": "stats {{.Name}}", "detachKeys": "ctrl-x", "pruneFilters": ["label!=keep"],
		"proxies": {"default": {"httpProxy": "http://proxy:3128", "noProxy": "localhost"}}}`)
	with := func(args ...string) string { t.Helper(); return must(t, append([]string{"--config", dir}, args...)...) }

	c := start(t, "configured", "busybox", "sleep", "3600")
	equal(t, "ps", with("ps"), "configured is here")
	equal(t, "ps --format", with("ps", "--format", "{{.Image}}"), "busybox")
	equal(t, "ps -q", with("ps", "-q"), c.id[:12])
	equal(t, "images", with("images", "busybox"), "image busybox")
	equal(t, "network ls", with("network", "ls", "-f", "name=none"), "network none")
	equal(t, "stats", with("stats", "--no-stream"), "stats configured")

	proxies := `env | grep -i -e ^http -e ^no_ | sort | tr '\n' ' '`
	equal(t, "proxies", with("run", "--rm", "busybox", "sh", "-c", proxies), "HTTP_PROXY=http://proxy:3128 NO_PROXY=localhost http_proxy=http://proxy:3128 no_proxy=localhost ")
	equal(t, "a proxy of the user's", with("run", "--rm", "-e", "http_proxy=mine", "-e", "NO_PROXY=", "busybox", "sh", "-c", proxies),
		"HTTP_PROXY=http://proxy:3128 NO_PROXY= http_proxy=mine no_proxy=localhost ")

	with("volume", "create", "--label", "keep", "kept")
	t.Cleanup(func() { my(t, "volume", "rm", "kept") })
	with("volume", "prune", "-af")
	equal(t, "volume ls", with("volume", "ls", "-f", "name=kept"), "volume kept")
	with("volume", "prune", "-af", "--filter", "label=keep")
	equal(t, "volumes after a prune that says otherwise", must(t, "volume", "ls", "-q"), "")

	term := onTerminal(t, 24, 80, "--config", dir, "run", "-it", "--name", "left", "busybox", "sh")
	t.Cleanup(func() { my(t, "rm", "-f", "left") })
	term.shows("# ")
	term.types("\x18") // ctrl-x
	equal(t, "status after the configured keys", term.exits(), 0)
	equal(t, "the container", must(t, "inspect", "-f", "{{.State.Running}}", "left"), "true")

	write("nonsense")
	broken := my(t, "--config", dir, "ps", "--filter", "name=configured")
	equal(t, "status with a broken file", broken.code, 0)
	match(t, "the warning", broken.err, `^WARNING: Error loading config file: `+dir+`/config.json: `)
}
