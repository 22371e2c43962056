package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// shared is something that two commands lay hands on at the same time.
type shared struct {
	what           string
	before         []string // the commands that make it
	pairs, against []string // each of pairs with each of pairs, and with each of against
}

// sharedThings are the things that commands share, with those that change them. @ is the thing's name, which each pair has for itself, SUBNET
// one for its network, DIR a directory. What prunes is kept to the one thing by a label.
var sharedThings = []shared{
	{"a container", []string{"run -d --name @ --label pair=@ --net pair1 busybox sleep 3600"}, []string{
		"start @", "stop -t 0 @", "restart -t 0 @", "pause @", "rm -f @", "rename @ @-new", "commit @ @:new", "network connect pair2 @",
	}, []string{
		"run -d --name @ busybox sleep 3600", "kill @", "unpause @", "update --pids-limit 100 @", "exec @ true", "cp DIR/file @:/",
		"network disconnect pair1 @", "system prune -f --filter label=pair=@", "gc", "network sync",
	}},
	{"a stopped container", []string{"create --name @ --label pair=@ --net pair1 -v @:/data busybox sleep 3600"}, []string{
		"start @", "rm @", "container prune -f --filter label=pair=@", "commit @ @:new",
	}, []string{"rename @ @-new", "volume rm @", "gc"}},
	{"a network", []string{"network create --subnet SUBNET --label pair=@ @", "run -d --name @ busybox sleep 3600"}, []string{
		"network rm @", "network connect @ @", "run --rm --net @ busybox true", "network create --subnet SUBNET @",
	}, []string{"network disconnect @ @", "network prune -f --filter label=pair=@", "network sync"}},
	{"a volume", []string{"volume create --label pair=@ @"}, []string{
		"volume create @", "volume rm @", "volume prune -af --filter label=pair=@", "run --rm -v @:/bin busybox sh -c :", "create --name @ -v @:/data busybox true",
	}, []string{"gc", "system prune -f --volumes --filter label=pair=@"}},
	{"an image", []string{"commit -c LABEL\tpair=@ base @:1"}, []string{
		"rmi @:1", "tag @:1 @:2", "tag busybox @:1", "image prune -af --filter label=pair=@", "run --pull never --rm @:1 true",
		"create --pull never --name @ @:1 true", "load -q -i DIR/archive", "commit base @:1",
	}, []string{"rmi -f @:1", "save -o DIR/@.tar @:1", "gc"}},
}

// filledIn is a command of a table with its names in their places. The n-th thing is called t<n>x.
func filledIn(command, dir string, n int) []string {
	words := strings.Fields(strings.ReplaceAll(command, "\t", "\x00"))
	for i, w := range words {
		w = strings.ReplaceAll(strings.ReplaceAll(w, "\x00", " "), "DIR", dir)
		w = strings.ReplaceAll(w, "SUBNET", fmt.Sprintf("10.%d.%d.0/28", 100+n/250, n%250))
		words[i] = strings.ReplaceAll(w, "@", fmt.Sprintf("t%dx", n))
	}
	return words
}

// tooLate are the sentences, besides those of stressErrors, that say that the other command was quicker.
var tooLate = regexp.MustCompile(`no such volume|no image|not found|Unable to find image|already exists|active endpoints|is used by|is paused: stop|is running: stop it first|it is paused|has been removed`)

// Any two commands that change the same thing may be given at once: each ends, in success or with a sentence that says that the other was
// quicker, and the world is consistent afterwards.
func TestAnyTwoAtOnce(t *testing.T) {
	cleanHost(t)
	makeNetwork(t, "pair1", "--subnet", "10.87.16.0/20")
	makeNetwork(t, "pair2", "--subnet", "10.87.32.0/20")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "tag", "busybox", "again:1")
	must(t, "save", "-o", filepath.Join(dir, "archive"), "again:1")
	must(t, "create", "--name", "base", "busybox", "true")
	t.Cleanup(func() { my(t, "rm", "-f", "base"); my(t, "rmi", "again:1") })
	n := 0
	for _, s := range sharedThings {
		var two [][2]string
		for i, a := range s.pairs {
			for _, b := range append(s.pairs[i:len(s.pairs):len(s.pairs)], s.against...) {
				two = append(two, [2]string{a, b})
			}
		}
		for len(two) > 0 {
			batch := two[:min(len(two), 50)]
			two = two[len(batch):]
			t.Run(fmt.Sprintf("%s-%d", strings.ReplaceAll(s.what, " ", "-"), n), func(t *testing.T) {
				for _, pair := range batch {
					n++
					atOnce(t, s, pair, dir, n)
				}
				settle(t)
				consistent(t)
				orderly(t)
				removeNumbered(t)
			})
		}
	}
	noRaces(t)
}

// atOnce makes a thing and gives two commands.
func atOnce(t *testing.T, s shared, pair [2]string, dir string, n int) {
	t.Helper()
	for _, command := range s.before {
		must(t, filledIn(command, dir, n)...)
	}
	allowed := stressErrors()
	var both sync.WaitGroup
	for i, command := range pair {
		both.Go(func() {
			args := filledIn(command, dir, n)
			r := quietly(t, args...)
			if args[0] == "pause" { // or what the other does in it would never end
				quietly(t, "unpause", args[1])
			}
			killed := r.code == 137 && r.err == ""
			if r.code != 0 && !killed && !allowed.MatchString(r.err) && !tooLate.MatchString(r.err) {
				t.Errorf("mydocker %s beside %s: exit status %d\n%s", strings.Join(args, " "), pair[1-i], r.code, r.err)
			}
			for _, bad := range []string{"DATA RACE", "goroutine ", "panic", "%!", "no such file or directory"} {
				if strings.Contains(r.err, bad) {
					t.Errorf("mydocker %s beside %s:\n%s", strings.Join(args, " "), pair[1-i], r.err)
				}
			}
		})
	}
	both.Wait()
}

// orderly checks that neither doctor nor gc finds anything.
func orderly(t *testing.T) {
	t.Helper()
	if r := my(t, "doctor"); r.code != 0 {
		t.Errorf("doctor: %s%s", r.out, r.err)
	}
	equal(t, "what gc finds", must(t, "gc"), "")
}

// removeNumbered removes what atOnce and its like have made, and checks that nothing else is left of it.
func removeNumbered(t *testing.T) {
	t.Helper()
	numbered := func(args ...string) (found []string) {
		for name := range strings.FieldsSeq(must(t, args...)) {
			if regexp.MustCompile(`^t\d+x`).MatchString(name) {
				found = append(found, name)
			}
		}
		return found
	}
	for _, kind := range []struct{ list, remove []string }{
		{[]string{"ps", "-a", "--format", "{{.Names}}"}, []string{"rm", "-f", "-v"}},
		{[]string{"network", "ls", "--format", "{{.Name}}"}, []string{"network", "rm"}},
		{[]string{"volume", "ls", "-q"}, []string{"volume", "rm"}},
		{[]string{"images", "--format", "{{.Repository}}:{{.Tag}}"}, []string{"rmi", "-f"}},
	} {
		if found := numbered(kind.list...); len(found) > 0 {
			must(t, append(kind.remove, found...)...)
		}
	}
	must(t, "image", "prune", "-f")
	settle(t)
	equal(t, "what gc finds after all was removed", must(t, "gc"), "")
}

// A killed container that somebody starts again at once is not the one that kill waits for.
func TestKillBesideStart(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "again")
	for range 4 {
		killed := make(chan result)
		go func() { killed <- my(t, "kill", c.name) }()
		var got *result
		for got == nil {
			must(t, "start", c.name) // nothing while it runs
			select {
			case r := <-killed:
				got = &r
			default:
			}
		}
		equal(t, "kill: "+got.err, got.code, 0)
	}
}

// Who pauses a container while a thread of exec is in its group does not freeze that thread: exec ends, and can be killed.
func TestExecBesidePause(t *testing.T) {
	cleanHost(t)
	c := sleeper(t, "frozen")
	for range 15 {
		var both sync.WaitGroup
		for range 3 {
			both.Go(func() {
				r := my(t, "exec", "-d", c.name, "true") // it says that the container is paused, or has begun
				if r.code != 0 && !strings.Contains(r.err, "paused") {
					t.Errorf("exec: exit status %d: %s", r.code, r.err)
				}
			})
		}
		must(t, "pause", c.name)
		both.Wait()
		must(t, "unpause", c.name)
	}
}
