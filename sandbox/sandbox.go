package sandbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/state"
)

// Store knows the sandboxes of one user: a directory for each below Dir.
type Store struct{ Dir string }

// Options says what a sandbox is to be like.
type Options struct {
	Name string
	// Hosts is how many machines that run containers there are: 1 or 2.
	Hosts int
	// Shared directories are the real ones inside too: what is written there stays. They must exist.
	Shared []string
}

// Record is what is kept of a sandbox: DIR/NAME/record.json. It is written before the first effect and removed after the last.
type Record struct {
	Name    string
	Created time.Time
	Hosts   int
	Shared  []string `json:",omitempty"`
	// Cgroups are the directories made for it, one in each hierarchy.
	Cgroups []string `json:",omitempty"`
	// Rootless says that it is in a user namespace of its own; Ranged, that this one has more than a single id.
	Rootless, Ranged bool
	// Notes say what cannot work in this sandbox, and why: keys of the catalogue's subject "sandbox".
	Notes []string `json:",omitempty"`
}

// Sandbox is one that has a record.
type Sandbox struct {
	Record
	dir string
}

// Open finds where a user's sandboxes are recorded: below run for root, below $XDG_RUNTIME_DIR for others.
func Open(run string) (*Store, error) {
	if os.Geteuid() == 0 {
		return &Store{filepath.Join(run, "worlds")}, nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = fmt.Sprintf("/run/user/%d", os.Geteuid())
		if _, err := os.Stat(dir); err != nil {
			return nil, lang.Errorf(nil, "sandbox.error-runtime-dir")
		}
	}
	return &Store{filepath.Join(dir, "mydocker", "worlds")}, nil
}

// goodName is what a sandbox may be called: it becomes a directory and a cgroup.
var goodName = func(name string) bool {
	return len(name) <= 40 && regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*$`).MatchString(name)
}

func (o *Options) check() error {
	switch {
	case !goodName(o.Name):
		return lang.Errorf(nil, "sandbox.error-name", "name", o.Name)
	case o.Hosts < 1 || o.Hosts > 2:
		return lang.Errorf(nil, "sandbox.error-hosts", "hosts", o.Hosts)
	}
	for _, dir := range o.Shared {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("%s cannot be shared with the sandbox: it is no directory", dir)
		}
	}
	return nil
}

// Up makes a sandbox and returns when all of it answers. One of that name that is alive is fs.ErrExist; what a dead one
// left is removed first. A failure leaves nothing.
func (s *Store) Up(o Options) (sb *Sandbox, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := mayMakeNamespaces(); err != nil {
		return nil, err
	}
	lock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if old, err := s.Find(o.Name); err == nil {
		if alive, err := old.Alive(); err != nil {
			return nil, err
		} else if alive {
			return nil, lang.Errorf(fs.ErrExist, "sandbox.error-up", "name", o.Name)
		}
		if err := old.remove(); err != nil {
			return nil, fmt.Errorf("remove what sandbox %s of before has left: %w", o.Name, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	sb = &Sandbox{dir: filepath.Join(s.Dir, o.Name), Record: Record{Name: o.Name, Created: time.Now(), Hosts: o.Hosts, Shared: o.Shared}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make sandbox %s: %w", o.Name, errors.Join(err, sb.remove()))
			sb = nil
		}
	}()
	if err := sb.plan(); err != nil {
		return sb, err
	}
	return sb, sb.start()
}

// plan decides what is to be made, and writes the record of it.
func (sb *Sandbox) plan() error {
	if os.Geteuid() != 0 {
		sb.Rootless = true
		sb.Ranged = haveRanges()
		if !sb.Ranged {
			sb.Notes = append(sb.Notes, "note-one-id")
		}
	}
	groups, note := chooseGroups(sb.groupName(), sb.Rootless)
	sb.Cgroups = groups
	if note != "" {
		sb.Notes = append(sb.Notes, note)
	}
	return state.ReplaceJSON(filepath.Join(sb.dir, "record.json"), sb.Record, state.Volatile)
}

// groupName is the name of its cgroups. Users, and records in other places, may have sandboxes of the same name.
func (sb *Sandbox) groupName() string {
	sum := sha256.Sum256([]byte(sb.dir))
	return fmt.Sprintf("mydocker-sandbox-%s-%x", sb.Name, sum[:4])
}

// Find reads a sandbox's record. Absent is fs.ErrNotExist.
func (s *Store) Find(name string) (*Sandbox, error) {
	sb := &Sandbox{dir: filepath.Join(s.Dir, name)}
	if !goodName(name) {
		return nil, lang.Errorf(fs.ErrNotExist, "sandbox.error-name", "name", name)
	}
	err := state.ReadJSON(filepath.Join(sb.dir, "record.json"), &sb.Record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, lang.Errorf(fs.ErrNotExist, "sandbox.error-none", "name", name)
	}
	return sb, err
}

// List is all sandboxes that have a record, by name.
func (s *Store) List() (all []*Sandbox, err error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		sb, err := s.Find(e.Name())
		if errors.Is(err, fs.ErrNotExist) { // killed before the record: the directory is all there is
			sb = &Sandbox{dir: filepath.Join(s.Dir, e.Name()), Record: Record{Name: e.Name()}}
		} else if err != nil {
			return nil, err
		}
		all = append(all, sb)
	}
	return all, nil
}

// Down ends a sandbox and removes all of it. One that is dead already is removed too; absent is fs.ErrNotExist.
func (s *Store) Down(name string) (err error) {
	lock, err := s.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	all, err := s.List()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(sb *Sandbox) bool { return sb.Name == name })
	if i < 0 {
		_, err := s.Find(name)
		return err
	}
	return all[i].remove()
}

// Sweep removes what dead sandboxes have left, and tells their names. It does not wait for somebody who makes one just now.
func (s *Store) Sweep() (removed []string, err error) {
	if _, err := os.Stat(s.Dir); err != nil {
		return nil, nil
	}
	lock, err := state.TryLock(s.lockFile())
	if errors.Is(err, state.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, sb := range all {
		alive, aliveErr := sb.Alive()
		err = errors.Join(err, aliveErr)
		if aliveErr != nil || alive {
			continue
		}
		err = errors.Join(err, sb.remove())
		removed = append(removed, sb.Name)
	}
	return removed, err
}

func (s *Store) lockFile() string { return filepath.Join(s.Dir, "lock") }

// lock keeps two commands from making and removing at once.
func (s *Store) lock() (*state.Lock, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep records of sandboxes: %w", err)
	}
	return state.AcquireLock(s.lockFile())
}

// Alive says whether the keeper lives: it holds a lock, which dies with it.
func (sb *Sandbox) Alive() (bool, error) { return state.Held(filepath.Join(sb.dir, "alive")) }

// remove is the one teardown: after a failed up, for down, and for what a killed keeper left. Absent is success.
func (sb *Sandbox) remove() error {
	if err := sb.kill(); err != nil {
		return err // its cgroups are in use as long as it lives
	}
	if err := removeGroups(sb.Cgroups); err != nil {
		return err
	}
	return os.RemoveAll(sb.dir)
}

// Reset makes a sandbox anew, as it was asked for. It returns the new one.
func (s *Store) Reset(name string) (*Sandbox, error) {
	old, err := s.Find(name)
	if err != nil {
		return nil, err
	}
	if err := s.Down(name); err != nil {
		return nil, err
	}
	return s.Up(Options{Name: old.Name, Hosts: old.Hosts, Shared: old.Shared})
}
