package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
)

// Who starts a container at once after its end meets the former monitor's release: it removes the very directory that the new
// monitor's lock is in.
func TestStartMeetsTheFormerRelease(t *testing.T) {
	e := newHost(t, nil)
	ctx := context.Background()
	if _, _, err := e.Create(ctx, CreateOptions{Name: "again", Image: "busybox", Args: []string{"true"}, Network: "none"}); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if code, err := e.Start(ctx, "again", StartOptions{}, Streams{}); code != 0 || err != nil {
			t.Fatalf("start %d: %d, %v", i, code, err)
		}
		if code, err := e.Wait(ctx, "again"); code != 0 || err != nil {
			t.Fatalf("wait %d: %d, %v", i, code, err)
		}
	}
	if err := e.Remove(ctx, "again", RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
}

// A monitor that was killed holds its lock until the kernel comes to end it. Who starts the container before takes it for one that is at
// work, waits, and finds everything of the former run in its way.
func TestStartMeetsADyingMonitor(t *testing.T) {
	e := newHost(t, nil)
	ctx := context.Background()
	id, _, err := e.Create(ctx, CreateOptions{Name: "again", Image: "busybox", Args: []string{"sleep", "3600"}, Network: "none"})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := e.Start(ctx, "again", StartOptions{}, Streams{}); code != 0 || err != nil {
		t.Fatalf("start: %d, %v", code, err)
	}
	c, err := e.runtime.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	var pid, monitor int
	var name, condition string
	if _, err := fmt.Sscan(string(stat), &pid, &name, &condition, &monitor); err != nil {
		t.Fatal(err)
	}
	for _, p := range []int{monitor, c.Pid()} {
		if err := unix.Kill(p, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	var dying *state.Lock // this process plays the monitor from here on
	for dying == nil {
		if dying, err = state.TryLock(e.monitorLock(id)); err != nil && !errors.Is(err, state.ErrLocked) {
			t.Fatal(err)
		}
	}
	for c.Status() != container.Stopped {
		time.Sleep(time.Millisecond)
	}
	started := make(chan error, 1)
	go func() {
		_, err := e.Start(ctx, "again", StartOptions{}, Streams{})
		started <- err
	}()
	for { // until it is seen to wait: it asks the monitor to go
		if _, err := os.Stat(e.path(id, stoppedFile)); err == nil {
			break
		}
		select {
		case err := <-started:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := errors.Join(dying.Release(), <-started); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(ctx, "again", RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
}

// Whoever gives a container the name of one that is just being removed, and in no list any more, waits until it is gone.
func TestNameOfOneThatIsBeingRemoved(t *testing.T) {
	e := newHost(t, nil)
	ctx := context.Background()
	o := CreateOptions{Name: "again", Image: "busybox", Args: []string{"true"}, Network: "none"}
	id, _, err := e.Create(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Create(ctx, o); err == nil || !strings.Contains(err.Error(), "conflict") {
		t.Fatalf("two of one name: %v", err)
	}
	if err := os.Rename(e.path(id, definitionFile), e.path(id, removingFile)); err != nil { // as forgetRecords begins
		t.Fatal(err)
	}
	if all, err := e.definitions(); err != nil || len(all) > 0 {
		t.Fatalf("it is still in the list: %v, %v", all, err)
	}
	made := make(chan error, 1)
	go func() {
		_, _, err := e.Create(ctx, o)
		made <- err
	}()
	select {
	case err := <-made:
		t.Fatalf("while the first is there: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := os.RemoveAll(e.Root.Container(id)); err != nil {
		t.Fatal(err)
	}
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(ctx, "again", RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
}

// Who talks to a monitor just when it replaces itself is heard by one of the two.
func TestConnectMeetsTheChangeOfTheMonitor(t *testing.T) {
	e := newHost(t, nil)
	ctx := context.Background()
	if _, err := e.Networks().Create(ctx, network.CreateOptions{Name: "meet0"}); err != nil {
		t.Fatal(err)
	}
	for i := range 15 {
		if _, _, err := e.RunDetached(ctx, RunOptions{CreateOptions: CreateOptions{Name: "meets", Image: "busybox", Args: []string{"sleep", "60"}}}); err != nil {
			t.Fatal(err)
		}
		if err := e.Connect(ctx, "meets", NetworkAttachment{Network: "meet0"}); err != nil {
			t.Fatalf("connect %d: %v", i, err)
		}
		j, err := e.Inspect(ctx, "meets")
		if err != nil || len(j.NetworkSettings.Networks) != 2 {
			t.Fatalf("networks: %v, %v", j.NetworkSettings.Networks, err)
		}
		if text, err := os.ReadFile(j.ResolvConfPath); err != nil || !strings.Contains(string(text), network.EmbeddedResolver) {
			t.Fatalf("resolv.conf after connect: %q, %v", text, err)
		}
		if err := e.Disconnect(ctx, "meets", "meet0", false); err != nil {
			t.Fatalf("disconnect %d: %v", i, err)
		}
		if err := e.Remove(ctx, "meets", RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.RemoveNetwork(ctx, "meet0"); err != nil {
		t.Fatal(err)
	}
}

// What a container says around the moment when its monitor replaces itself arrives in the log, whole and in order.
func TestNothingOfTheOutputIsLostInTheChange(t *testing.T) {
	e := newHost(t, nil)
	ctx := context.Background()
	script := "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); usleep 500; done; printf end"
	if _, _, err := e.RunDetached(ctx, RunOptions{CreateOptions: CreateOptions{Name: "talks", Image: "busybox", Args: []string{"sh", "-c", script}, Network: "none"}}); err != nil {
		t.Fatal(err)
	}
	if code, err := e.Wait(ctx, "talks"); code != 0 || err != nil {
		t.Fatalf("wait: %d, %v", code, err)
	}
	var out strings.Builder
	if err := e.Logs(ctx, "talks", LogOptions{Tail: -1, Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3001 || lines[0] != "line 0" || lines[2999] != "line 2999" || lines[3000] != "end" {
		t.Errorf("%d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
	if err := e.Remove(ctx, "talks", RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
}
