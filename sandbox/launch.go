package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// Two processes lead from the command to the keeper:
//
//	up ── starts ──> launch ── starts ──> keeper
//	                 (user namespace)     (mount, network, pid, uts, ipc and cgroup namespaces; it lives on)
//	                 joins the cgroups
//	                 and ends
//
// launch is there because a cgroup namespace shows as its root the groups in which it was made, and because the keeper has to
// be born with all its rights in the user namespace. All three hold the lock that says "alive", so there is no moment when a
// sandbox is there and looks dead.
const (
	aliveFD = 3 // the lock
	readyFD = 4 // where the keeper says "ok", or what went wrong
	mapsFD  = 5 // launch waits here until it has its ids; only with ranges
)

// Main does the work of those processes that no user starts: launch, keeper, place, which brings a command to lan or
// internet, and oneuser. args are what follows `mydocker sandbox`. It says whether they were for one of them.
func Main(args []string) (code int, mine bool) {
	if len(args) < 2 {
		return 0, false
	}
	var err error
	switch args[0] {
	case "launch":
		err = launch(args[1])
	case "keeper":
		err = keep(args[1])
	case "host2":
		err = keepSecond(args[1])
	case "place":
		return enterPlace(args[1], args[2:]), true
	case "oneuser":
		return oneUser(args[1:]), true
	default:
		return 0, false
	}
	if err != nil {
		if _, write := fmt.Fprint(os.NewFile(readyFD, "ready"), err); write != nil {
			fmt.Fprintln(os.Stderr, "mydocker sandbox:", err)
		}
		return 1, true
	}
	return 0, true
}

// start starts launch and waits until the keeper is ready.
func (sb *Sandbox) start() error {
	if err := makeGroups(sb.Cgroups); err != nil {
		return err
	}
	alive, err := state.TryLock(filepath.Join(sb.dir, "alive"))
	if err != nil {
		return err
	}
	defer alive.Release()
	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command("/proc/self/exe", "sandbox", "launch", sb.dir)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{alive.File(), tell}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	mapped := func() error { return nil }
	if sb.Rootless {
		if mapped, err = sb.ownUsers(cmd); err != nil {
			return errors.Join(err, tell.Close())
		}
	}
	if err = state.Disinherit(); err == nil {
		err = cmd.Start()
	}
	err = errors.Join(err, tell.Close())
	if err != nil {
		return explainUserNamespace(err, sb.Rootless)
	}
	err = mapped()
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	said, readErr := io.ReadAll(ready)
	waitErr := cmd.Wait()
	switch {
	case err != nil:
		return err
	case string(said) == "ok":
		return nil
	case len(said) > 0:
		return errors.New(strings.TrimSuffix(string(said), "ok"))
	}
	return errors.Join(errors.New("its first process ended before it was ready"), readErr, waitErr)
}

// launch joins the cgroups and starts the keeper, which outlives it.
func launch(dir string) error {
	if _, waits := os.LookupEnv(waitForIDs); waits {
		return getRights()
	}
	var r Record
	if err := state.ReadJSON(filepath.Join(dir, "record.json"), &r); err != nil {
		return err
	}
	return startMember(&r, r.Cgroups, "keeper", dir)
}

// startMember starts a process of ours in namespaces of its own, born in the given groups.
func startMember(r *Record, groups []string, role, dir string) error {
	for _, group := range groups {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return fmt.Errorf("join the cgroup: %w", err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "sandbox", role, dir)
	cmd.Args[0] = "mydocker"
	cmd.Dir = "/"
	cmd.Env = os.Environ()
	cmd.ExtraFiles = []*os.File{os.NewFile(aliveFD, "alive"), os.NewFile(readyFD, "ready")}
	flags := unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	if len(groups) > 0 {
		flags |= unix.CLONE_NEWCGROUP
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: uintptr(flags), Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the first process in namespaces of its own: %w", err)
	}
	return cmd.Process.Release()
}

// kill ends the keeper, and with it every process of the sandbox, and returns when it is dead. That there is none is success.
func (sb *Sandbox) kill() error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		alive, err := sb.Alive()
		if err != nil || !alive {
			return err
		}
		if pid, err := sb.Pid(); err == nil {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
				return fmt.Errorf("end process %d of sandbox %s: %w", pid, sb.Name, err)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("sandbox %s does not end: its lock %s is held; `fuser -v` on that file names the process", sb.Name, filepath.Join(sb.dir, "alive"))
		}
	}
}
