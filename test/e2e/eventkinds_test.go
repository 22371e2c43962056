package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// happenings notes the time, and gives the events since: of a type, in the order in which they were told, each by a template.
func happenings(t *testing.T) func(format string, filters ...string) []string {
	t.Helper()
	began := sh(t, "date +%s.%N")
	return func(format string, filters ...string) []string {
		args := []string{"events", "--since", began, "--until", "0s", "--format", format}
		for _, f := range filters {
			args = append(args, "--filter", f)
		}
		return strings.Split(must(t, args...), "\n")
	}
}

// Whatever ends a container tells its signals, as Docker does: stop the stop signal and, when that does not help, KILL; rm -f KILL.
func TestEventsOfSignals(t *testing.T) {
	cleanHost(t)
	events := happenings(t)
	of := func(name string) string {
		return strings.Join(events("{{.Action}} {{.Actor.Attributes.signal}}", "container="+name, "event=kill"), ",")
	}
	const deaf = "trap : USR1 INT TERM; while :; do sleep 0.05; done"
	for name, end := range map[string][]string{
		"kill 15":        {"stop"},
		"kill 10":        {"kill", "-s", "USR1"},
		"kill 9":         {"rm", "-f"},
		"kill 2,kill 9":  {"stop", "-s", "INT", "-t", "0"},
		"kill 15,kill 9": {"restart", "-t", "1"},
	} {
		box, script := strings.NewReplacer(" ", "-", ",", "-").Replace(name), deaf
		if len(end) == 1 {
			script = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
		}
		start(t, box, "busybox", "sh", "-c", script).hears(syscall.SIGTERM)
		must(t, append(end, box)...)
		equal(t, strings.Join(end, " "), of(box), name)
		my(t, "rm", "-f", box)
	}
}

// A terminal, a client and a check: what is told of them, and with which attributes.
func TestEventsOfClients(t *testing.T) {
	cleanHost(t)
	events := happenings(t)
	t.Cleanup(func() { my(t, "rm", "-f", "told-tty", "told-health") })
	term := onTerminal(t, 24, 80, "run", "-it", "--name", "told-tty", "busybox", "sh")
	term.shows("# ")
	term.resize(31, 91)
	eventually(t, func() string {
		if sizes := events("{{.Actor.Attributes.height}}x{{.Actor.Attributes.width}}", "event=resize"); !slices.Contains(sizes, "31x91") {
			return fmt.Sprint("no resize to 31x91: ", sizes)
		}
		return ""
	})
	term.types("\x10\x11")
	equal(t, "status after detaching", term.exits(), 0)
	again := onTerminal(t, 24, 80, "attach", "told-tty")
	again.types("\n")
	again.shows("# ")
	again.types("exit 4\n")
	again.exits()
	kinds := slices.DeleteFunc(events("{{.Action}}", "container=told-tty", "type=container"), func(s string) bool { return s == "resize" })
	equal(t, "a life at terminals", strings.Join(kinds, " "), "create attach start detach attach die")

	must(t, "run", "-d", "--name", "told-health", "--health-cmd", "test ! -e /ill", "--health-interval", "100ms", "--health-retries", "1", "busybox", "sleep", "1000")
	health := func(want string) {
		eventually(t, func() string {
			if got := events("{{.Action}}", "container=told-health", "event=health_status"); !slices.Contains(got, "health_status: "+want) {
				return fmt.Sprintf("not %s: %q", want, got)
			}
			return ""
		})
		match(t, "ps", must(t, "ps", "--filter", "name=told-health", "--format", "{{.Status}}"), `\(`+want+`\)$`)
	}
	health("healthy")
	must(t, "exec", "told-health", "touch", "/ill")
	health("unhealthy")
}

// A registry's side, and what is cleared away.
func TestEventsOfImages(t *testing.T) {
	cleanHost(t)
	registry := newRegistry(t, 5006, false, false).address
	events := happenings(t)
	name := registry + "/told/busybox:1"
	archive := filepath.Join(t.TempDir(), "told.tar")
	sh(t, "tar -C /etc -cf "+archive+" hostname")
	must(t, "import", archive, name)
	must(t, "push", "-q", "--insecure", name)
	must(t, "rmi", name)
	must(t, "pull", "-q", "--insecure", name)
	must(t, "rmi", name)
	equal(t, "actions", strings.Join(events("{{.Action}}", "type=image"), " "), "import tag push untag untag delete pull untag untag delete")
	equal(t, "a pull is told of by the name", strings.Join(events("{{.Actor.ID}} {{.Actor.Attributes.name}}", "event=pull"), ""), name+" "+strings.TrimSuffix(name, ":1"))
	for _, kind := range []string{"container", "network", "volume", "image"} {
		must(t, kind, "prune", "-f")
	}
	equal(t, "prunes", strings.Join(events("{{.Type}} {{.Actor.Attributes.reclaimed}}", "event=prune"), ","), "container 0,network 0,volume 0,image 0")
}
