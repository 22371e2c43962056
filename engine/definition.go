package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/state"
)

// Definition is what was asked for: everything needed to start the container again after a reboot. It is written before
// the first effect and deleted after the last one.
type Definition struct {
	ID      string
	Name    string
	Created time.Time
	ImageID image.Digest
	// Layers are the chain ids of the image's layers, bottom first: the container can start even if its tag moved on.
	Layers []image.Digest
	// Options are the options as given, with the image's configuration merged in: Entrypoint and Args are the command,
	// Env, WorkingDir, User, Hostname, StopSignal, Labels and Expose are final, Mounts include the image's volumes and name
	// their volumes.
	Options CreateOptions
	// AnonymousVolumes are the anonymous volumes of this container, removed with it by `rm -v` and --rm.
	AnonymousVolumes []string `json:",omitempty"`
	// ProcessLabel and MountLabel are the SELinux labels of the processes and of the files; "" is none.
	ProcessLabel, MountLabel string `json:",omitempty"`
	// ByRun says that `run` made it, not `create`: a --rm container that `run` never came to start is garbage.
	ByRun bool `json:",omitempty"`

	held *state.Lock // the container's lock, from its making on until it has been started
}

// unlock lets others start, rename and remove a container that is no longer just being made. It may be called more than once.
func (d *Definition) unlock() {
	if d != nil && d.held != nil {
		d.held.Release()
		d.held = nil
	}
}

// Command is the process's argument vector.
func (d *Definition) Command() []string {
	return append(append([]string{}, d.Options.Entrypoint...), d.Options.Args...)
}

// Paths of the files in a container's directory.
func (e *Engine) path(id, file string) string { return filepath.Join(e.Root.Container(id), file) }

const (
	definitionFile = "definition.json"
	removingFile   = "removing.json" // the definition of one that is being removed
	lifeFile       = "life.json"
	logFile        = "container.log"
	lockFile       = "lock"
	restartFile    = "restart" // a lock
	stoppedFile    = "stopped" // is there when a user, or the machine that goes down, wants the container down
	netnsFile      = "netns"
)

func (e *Engine) writeDefinition(d *Definition) error {
	// A --rm container is gone after a reboot anyway, so its definition need not wait for the disk.
	return state.ReplaceJSON(e.path(d.ID, definitionFile), d, state.Durability(!d.Options.AutoRemove))
}

// takeBack writes a definition as it was before something that has failed: err. Where the disk is full, that is not said twice.
func (e *Engine) takeBack(d *Definition, err error) error {
	if back := e.writeDefinition(d); back != nil && !strings.Contains(err.Error(), back.Error()) {
		return errors.Join(err, back)
	}
	return err
}

// defineAnew writes the definition of a container that is just being made; keepDefinition follows.
func (e *Engine) defineAnew(d *Definition) error {
	return state.ReplaceJSON(e.path(d.ID, definitionFile), d, state.Volatile)
}

// keepDefinition puts a new definition on the disk. It is not done in create, because it takes as long as the rest of a start
// together (milliseconds): `run` does it once the container runs. A machine that loses its power before that has lost a
// container that nobody was told of.
func (e *Engine) keepDefinition(d *Definition) error {
	if d.Options.AutoRemove {
		return nil
	}
	return state.Sync(e.path(d.ID, definitionFile))
}

func (e *Engine) readDefinition(id string) (*Definition, error) {
	d := new(Definition)
	path := e.path(id, definitionFile)
	err := state.ReadJSON(path, d)
	if err != nil {
		// Power was lost before it came to the disk: it never was.
		if st, statErr := os.Stat(path); statErr == nil && st.Size() == 0 {
			return d, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
		}
	}
	return d, err
}

// Find looks a container up by full id, by name, or by a unique prefix of its id, in this order.
func (e *Engine) Find(ref string) (*Definition, error) {
	id, err := e.resolve(ref)
	if err != nil {
		return nil, err
	}
	d, err := e.readDefinition(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSuchContainer(ref)
	}
	return d, err
}

// NoSuchContainer says that no container answers to Ref. It is an fs.ErrNotExist.
type NoSuchContainer struct{ Ref string }

func noSuchContainer(ref string) error { return &NoSuchContainer{ref} }

func (n *NoSuchContainer) Error() string {
	return "no such container: " + n.Ref + " (mydocker ps -a lists them)"
}
func (n *NoSuchContainer) Is(target error) bool { return target == fs.ErrNotExist }

func (e *Engine) resolve(ref string) (string, error) {
	ref = strings.TrimPrefix(ref, "/") // Docker's own names begin with one
	if ref == "" || strings.ContainsRune(ref, '/') || ref[0] == '.' {
		return "", noSuchContainer(ref)
	}
	if len(ref) == 64 {
		if _, err := os.Stat(e.Root.Container(ref)); err == nil {
			return ref, nil
		}
	}
	if owner, err := state.ReadFile(e.nameFile(ref)); err == nil {
		return string(owner), nil
	}
	ids, err := e.ids()
	if err != nil {
		return "", err
	}
	var found []string
	for _, id := range ids {
		if strings.HasPrefix(id, ref) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", noSuchContainer(ref)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%d containers have an id that begins with %s; give more digits (mydocker ps -a --no-trunc)", len(found), ref)
}

// ids are the ids of all containers that have a directory.
func (e *Engine) ids() ([]string, error) {
	entries, err := os.ReadDir(e.Root.Containers())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ids := make([]string, 0, len(entries))
	for _, entry := range entries {
		if len(entry.Name()) == 64 {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

// definitions reads all records, newest first. A container that is being created or removed at this moment is left out.
func (e *Engine) definitions() ([]*Definition, error) {
	ids, err := e.ids()
	if err != nil {
		return nil, err
	}
	all, err := inParallel(ids, func(id string) (*Definition, error) {
		d, err := e.readDefinition(id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err == nil && d.Options.AutoRemove && !e.ownsName(d.Name, d.ID) {
			return nil, nil // given up already: its reaper is about to remove it
		}
		return d, err
	})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d *Definition) bool { return d == nil })
	sort.Slice(all, func(i, j int) bool { return all[i].Created.After(all[j].Created) })
	return all, nil
}

// lock takes the container's own lock, under which it is started, removed and renamed. The container may have been removed
// while we waited: that is noSuchContainer.
func (e *Engine) lock(id string) (*state.Lock, error) {
	l, err := state.AcquireLockThere(e.path(id, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSuchContainer(ShortID(id))
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(e.path(id, definitionFile)); err != nil {
		return nil, errors.Join(noSuchContainer(ShortID(id)), l.Release())
	}
	return l, nil
}

// Life is what became of the container: when it last started, when and how it ended. The pid is not here: whether it lives
// is asked of the kernel.
type Life struct {
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   int
	OOMKilled  bool
	// Error is why it could not be started.
	Error        string `json:",omitempty"`
	RestartCount int
	// Stopped says that a user stopped it: no restart policy but "always" after a reboot may bring it back.
	// It is a file of its own, so that the one who stops and the monitor do not overwrite each other's word.
	Stopped bool `json:"-"`
	// Halted says that it was the user who stopped it, and not the machine that went down.
	Halted bool `json:"-"`
}

func (e *Engine) readLife(id string) (Life, error) {
	var l Life
	err := state.ReadJSON(e.path(id, lifeFile), &l)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	why, stoppedErr := state.ReadFile(e.path(id, stoppedFile))
	l.Stopped = stoppedErr == nil
	l.Halted = l.Stopped && string(why) != downByShutdown
	return l, err
}

func (e *Engine) writeLife(id string, l Life) error {
	return state.ReplaceJSON(e.path(id, lifeFile), l, state.Volatile)
}
