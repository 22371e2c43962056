package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// ticks is a container's command that says something all the time, and what signals it is sent. INT ends it.
func ticks() []string {
	return []string{"busybox", "sh", "-c", "trap 'echo got INT; exit 5' INT; trap 'echo got USR1' USR1; while :; do echo tick; sleep 0.05; done"}
}

// watchers are the commands that stand beside a container in the foreground.
func watchers() map[string]func(t *testing.T, name string, flags ...string) *terminal {
	made := func(verb ...string) func(*testing.T, string, ...string) *terminal {
		return func(t *testing.T, name string, flags ...string) *terminal {
			must(t, append(append([]string{}, verb...), append([]string{"--name", name}, ticks()...)...)...)
			foreground := "attach"
			if verb[0] == "create" {
				foreground = "start -a"
			}
			return onTerminal(t, 24, 80, append(append(strings.Fields(foreground), flags...), name)...)
		}
	}
	return map[string]func(*testing.T, string, ...string) *terminal{
		"attach": made("run", "-d"),
		"start":  made("create"),
		"run": func(t *testing.T, name string, flags ...string) *terminal {
			return onTerminal(t, 24, 80, append(append([]string{"run", "--name", name}, flags...), ticks()...)...)
		},
	}
}

// Whoever stands beside a container that has no terminal passes signals on, those that the keyboard makes, too.
func TestSigProxy(t *testing.T) {
	cleanHost(t)
	for verb, watch := range watchers() {
		t.Run(verb, func(t *testing.T) {
			name := "proxied-" + verb
			t.Cleanup(func() { my(t, "rm", "-f", name) })
			term := watch(t, name)
			term.shows("tick")
			if err := term.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			term.shows("got USR1")
			term.types("\x03")
			term.shows("got INT")
			equal(t, "exit status of "+verb, term.exits(), 5)
			equal(t, "state", must(t, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name), "exited 5")
		})
	}
}

// With --sig-proxy=false the signal is for mydocker alone: the container is told nothing, goes on, and is still looked after.
func TestNoSigProxy(t *testing.T) {
	cleanHost(t)
	for _, verb := range []string{"run", "attach"} {
		for what, end := range map[string]func(*terminal) error{
			"key":    func(term *terminal) error { term.types("\x03"); return nil },
			"signal": func(term *terminal) error { return term.cmd.Process.Signal(syscall.SIGTERM) },
		} {
			t.Run(verb+" "+what, func(t *testing.T) {
				name := "alone-" + verb + "-" + what
				t.Cleanup(func() { my(t, "rm", "-f", name) })
				term := watchers()[verb](t, name, "--sig-proxy=false")
				term.shows("tick")
				if err := end(term); err != nil {
					t.Fatal(err)
				}
				equal(t, "how the command ended", term.exits(), -1) // by the signal
				said := strings.Count(must(t, "logs", name), "tick\n")
				eventually(t, func() string {
					if now := strings.Count(must(t, "logs", name), "tick\n"); now <= said+1 {
						return fmt.Sprintf("the container's log does not go on: %d lines", now)
					}
					return ""
				})
				must(t, "kill", "-s", "INT", name)
				equal(t, "exit status", must(t, "wait", name), "5")
				equal(t, "what it was told", strings.Count(must(t, "logs", name), "got INT"), 1)
			})
		}
	}
}
