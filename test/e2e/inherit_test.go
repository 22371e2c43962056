package e2e

import "testing"

// What a caller has open besides the three streams is held by none of the processes that outlive the command: a lock, say.
func TestNothingIsInherited(t *testing.T) {
	cleanHost(t)
	t.Cleanup(func() {
		must(t, "rm", "-f", "sleeper")
		must(t, "sandbox", "down", "mine")
		sh(t, "rm -r /run/mydocker/worlds")
	})
	dir := t.TempDir()
	for _, command := range []string{
		"run -d --name sleeper busybox sleep 3600", "restart -t 0 sleeper", "exec -d sleeper sleep 3600", "sandbox up mine", "save -o image.tar busybox", "load -i image.tar",
	} {
		t.Run(command, func(t *testing.T) {
			sh(t, "cd "+dir+" && exec 9>lock && flock 9 && "+binary+" "+command+" 6<lock 7<&6 17</ && exec 9>&- && flock -n lock true")
		})
	}
}
