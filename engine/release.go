package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/state"
)

// There is one teardown, in three steps; who failed half-way, `stop`, `rm`, --rm, the reaper and gc all call the same:
//
//	releaseClaims   name of the namespace, addresses, host ports: microseconds, so that the next command can have them
//	releaseKernel   processes, cgroup, links, rules: what the kernel takes its time for
//	forget          the records, and what the container wrote
//
// Each is idempotent, finds everything by the container's id, needs nothing alive, and does not stop at the first error.

func (e *Engine) releaseClaims(d *Definition) error {
	err := e.networks.ReleaseClaims(d.ID)
	if hasOwnSandbox(d.Options.Network) && e.ownsName(d.Name, d.ID) {
		err = errors.Join(err, e.adoptSandbox(d), e.networks.DeleteSandbox(d.Name))
	}
	return err
}

// rememberSandbox writes the namespace's inode number beside the definition: the name of a pin proves nothing, and the
// running tree may be lost.
func (e *Engine) rememberSandbox(d *Definition, path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.WriteFile(e.path(d.ID, netnsFile), []byte(strconv.FormatUint(inode(st), 10)), 0o600)
}

func inode(st fs.FileInfo) uint64 { return st.Sys().(*syscall.Stat_t).Ino }

// adoptSandbox makes a namespace known again whose record is lost (rm -rf /run/mydocker), if it is the one that we made.
func (e *Engine) adoptSandbox(d *Definition) error {
	if _, err := e.networks.Sandbox(d.ID); err == nil {
		return nil
	}
	mine, err := state.ReadFile(e.path(d.ID, netnsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := os.Stat(filepath.Join(e.Root.NetNS, d.Name))
	if err != nil || strconv.FormatUint(inode(st), 10) != string(mine) {
		return nil
	}
	return e.networks.AdoptSandbox(d.Name, d.ID)
}

// ownsName guards what is found by the container's name: it may be somebody else's by now.
func (e *Engine) ownsName(name, id string) bool {
	owner, err := state.ReadFile(e.nameFile(name))
	return err == nil && string(owner) == id
}

// releaseKernel takes a container out of the kernel, and its monitor's directory with it. name is its name, if the namespace
// pinned under it is to go too.
func (e *Engine) releaseKernel(id, name string) error {
	if err := e.releaseRun(id, name); err != nil {
		return err
	}
	return os.RemoveAll(e.monitorDir(id))
}

// releaseRun is releaseKernel of a monitor that stays, for the next run of a restart policy: its lock and its socket stay.
func (e *Engine) releaseRun(id, name string) error {
	err := e.deleteProcess(id)
	err = errors.Join(err, e.unmountVolumes(id), e.networks.Release(context.Background(), id))
	if sb, findErr := e.networks.Sandbox(id); findErr == nil {
		err = errors.Join(err, e.networks.DeleteSandbox(sb.Name)) // by whatever name it is called now
	} else if name != "" && e.ownsName(name, id) {
		err = errors.Join(err, e.networks.DeleteSandbox(name))
	}
	if err != nil {
		return fmt.Errorf("release container %s: %w", ShortID(id), err)
	}
	return nil
}

// deleteProcess ends the container's processes and removes its group. Where the runtime has lost its record, they are found
// by the group, whose path follows from the definition.
func (e *Engine) deleteProcess(id string) error {
	if _, err := e.runtime.Load(id); !errors.Is(err, fs.ErrNotExist) {
		return e.runtime.Delete(id, true)
	}
	group := cgroupPath(&CreateOptions{}, id)
	if d, err := e.readDefinition(id); err == nil {
		group = cgroupPath(&d.Options, id)
	}
	return e.runtime.DeleteGroup(group)
}

// releaseOrphan releases a container that has no monitor any more, under its monitor's lock so that two do not do it at once.
func (e *Engine) releaseOrphan(id string) error {
	l, err := state.TryLock(e.monitorLock(id))
	if errors.Is(err, state.ErrLocked) {
		return nil // somebody else does it
	}
	if err != nil {
		return err
	}
	defer l.Release()
	d, err := e.readDefinition(id)
	if errors.Is(err, fs.ErrNotExist) {
		return e.releaseKernel(id, "")
	}
	if err != nil {
		return err
	}
	err = errors.Join(e.releaseClaims(d), e.releaseKernel(id, d.Name))
	if err == nil && d.Options.AutoRemove {
		err = e.forget(d)
	}
	return err
}

// releaseLeftovers releases what a run whose monitor was killed has left, before the container is started anew.
func (e *Engine) releaseLeftovers(d *Definition) error {
	if _, err := os.Stat(e.monitorDir(d.ID)); errors.Is(err, fs.ErrNotExist) || e.busyMonitor(d.ID) {
		return nil
	}
	return errors.Join(e.releaseClaims(d), e.releaseKernel(d.ID, d.Name))
}

// attach wires a container to a network. Ports and addresses of a container that has ended are free, also where its monitor was killed
// before it and nobody has looked since: what is in the way is released if nobody lives there.
func (e *Engine) attach(ctx context.Context, sb *network.Sandbox, o network.EndpointOptions) (*network.Endpoint, error) {
	ep, err := e.networks.Attach(ctx, sb, o)
	if !errors.Is(err, fs.ErrExist) {
		return ep, err
	}
	released, deadErr := e.releaseDead()
	if !released {
		return ep, errors.Join(err, deadErr)
	}
	return e.networks.Attach(ctx, sb, o)
}

// releaseDead releases containers that are on a network, and neither run nor have a monitor.
func (e *Engine) releaseDead() (released bool, err error) {
	ids, err := e.ids()
	for _, id := range ids {
		if plugged, _ := e.networks.ContainerEndpoints(id); len(plugged) == 0 || e.busyMonitor(id) {
			continue
		}
		d, readErr := e.readDefinition(id)
		if readErr != nil { // it is just being removed; or damaged, which is gc's business
			continue
		}
		if _, runErr := e.running(d); runErr == nil {
			continue
		}
		did, gcErr := e.gcContainer(d)
		released = released || did != ""
		err = errors.Join(err, gcErr)
	}
	return released, err
}

// unclaimName gives the container's name back.
func (e *Engine) unclaimName(d *Definition) error { return state.Unclaim(e.nameFile(d.Name), d.ID) }

// forget removes a --rm container's records and volumes.
func (e *Engine) forget(d *Definition) error {
	return errors.Join(e.removeAnonymous(d), e.forgetRecords(d))
}

// forgetRecords removes what the container wrote and what is known of it. The definition gets another name first: from then on there is
// no such container, and a removal that was cut short is finished by gc. One that fails gives it back.
func (e *Engine) forgetRecords(d *Definition) error {
	dir := e.Root.Container(d.ID)
	definition, removing := filepath.Join(dir, definitionFile), filepath.Join(dir, removingFile)
	err := os.Rename(definition, removing)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	renamed := err == nil
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return e.unclaimName(d)
	}
	err = errors.Join(err, removeLog(e.path(d.ID, logFile)))
	for _, entry := range entries {
		if entry.Name() != removingFile && entry.Name() != lockFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	if err != nil {
		if renamed {
			err = errors.Join(err, os.Rename(removing, definition))
		}
		return fmt.Errorf("remove the files of container %s: %w", d.Name, err)
	}
	// The lock last: who gets it then sees that there is nothing to be locked.
	if err := errors.Join(removeAllAtLast(dir), e.unclaimName(d)); err != nil {
		return err
	}
	e.containerEvent(d, "destroy")
	return nil
}

// removeAllAtLast removes a container's directory, in which those who wait for the lock may make its file once more, and then find that
// there is no container.
func removeAllAtLast(dir string) error {
	for try := 0; ; try++ {
		err := os.RemoveAll(dir)
		if !errors.Is(err, unix.ENOTEMPTY) || try == 100 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
