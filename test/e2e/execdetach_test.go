package e2e

import (
	"strings"
	"testing"
)

// Detaching leaves the command of exec running with its terminal, whatever it says there; its end is told of as any other. A
// client that dies is a connection that broke: its command is hung up on.
func TestExecDetach(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "exec-detach")
	began := sh(t, "date +%s.%N")
	happened := func(action string) string {
		return must(t, "events", "--since", began, "--until", "0s", "--filter", "event="+action, "--format", "{{.Actor.Attributes.execID}} {{.Actor.Attributes.exitCode}}")
	}
	// What it writes after the detaching is more than a terminal holds unread.
	term := onTerminal(t, 24, 80, "exec", "-it", "exec-detach", "sh", "-c",
		`trap 'echo hup >/hup' HUP; echo ready; until test -e /go; do sleep 0.02; done; yes | head -c 300000; tty >/tty; exit 7`)
	term.shows("ready")
	term.types("\x10\x11") // ctrl-p ctrl-q
	equal(t, "status after detaching", term.exits(), 0)
	<-term.ended // nobody holds the caller's terminal
	id, _, _ := strings.Cut(happened("exec_detach"), " ")
	if id == "" || strings.Contains(happened("exec_die"), id) {
		t.Errorf("events after detaching: detached %q, died %q", happened("exec_detach"), happened("exec_die"))
	}
	c.exec("touch", "/go")
	eventually(t, func() string {
		if died := happened("exec_die"); !strings.Contains(died, id+" 7") {
			return "exec " + id + " has not ended with 7: " + died
		}
		return ""
	})
	equal(t, "its terminal to the end", c.sh("cat /tty; ls /hup 2>/dev/null || echo no hup"), "/dev/pts/0\nno hup")

	other := onTerminal(t, 24, 80, "exec", "-it", "--detach-keys", "ctrl-a,b", "exec-detach", "sh", "-c", `trap 'echo hup >/hup; exit 9' HUP; echo ready; while :; do sleep 0.02; done`)
	other.shows("ready")
	other.cmd.Process.Kill()
	eventually(t, func() string {
		if strings.HasSuffix(happened("exec_die"), " 9") {
			return ""
		}
		return "the command of a dead client goes on"
	})
	equal(t, "it was hung up on", c.exec("cat", "/hup"), "hup")
	match(t, "processes in the container", must(t, "top", "exec-detach", "-o", "pid,comm"), `^PID +COMMAND\n\d+ +sh\n\d+ +sleep$`)
}
