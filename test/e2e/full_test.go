package e2e

import (
	"fmt"
	"testing"
)

// What could not be written where it should is an error, whatever the command.
func TestFullOutput(t *testing.T) {
	cleanHost(t)
	sleeper(t, "teller")
	for args, code := range map[string]int{
		"ps": 1, "events --since 1h --until 0s": 1, "lab list": 1, "lab show bridge": 1, "explain nat": 1, "network inspect bridge": 1,
		"trace teller outside/icmp": 125,
	} {
		t.Run(args, func(t *testing.T) {
			said := sh(t, fmt.Sprintf("%s %s 2>&1 >/dev/full; echo status $?", binary, args))
			match(t, args, said, fmt.Sprintf(`(?m)^mydocker: write /dev/stdout: no space left on device.*(?s:.*)^status %d$`, code))
		})
	}
}
