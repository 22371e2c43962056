package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mydocker/mydocker/state"
)

var errNotRoot = errors.New("mydocker makes namespaces, mounts and firewall rules, which only root may do; try: sudo mydocker …, or, without root, mydocker sandbox up")

// newID is 32 random bytes in hex. Like Docker we avoid ids whose short form is a number, because such a short id given
// as a host name would be taken for an address.
func newID() string {
	for {
		var b [32]byte
		if _, err := rand.Read(b[:]); err != nil {
			panic(err) // crypto/rand.Read is documented never to fail on Linux
		}
		id := hex.EncodeToString(b[:])
		if strings.ContainsAny(id[:12], "abcdef") {
			return id
		}
	}
}

// ShortID is the form that people type: the first 12 digits.
func ShortID(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// validName is Docker's rule: [a-zA-Z0-9][a-zA-Z0-9_.-]+. The name is also the name of a pinned network namespace, so
// it has to be a file name.
func validName(name string) error {
	ok := len(name) >= 2 && len(name) <= 128
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		ok = ok && (alnum || i > 0 && strings.ContainsRune("_.-", r))
	}
	if !ok {
		return fmt.Errorf("invalid container name (%s): only [a-zA-Z0-9][a-zA-Z0-9_.-]+ is allowed, 2 to 128 characters", name)
	}
	return nil
}

func (e *Engine) nameFile(name string) string { return filepath.Join(e.Root.Lib, "names", name) }

// claimName takes the container's name, or finds a free one when the user gave none.
func (e *Engine) claimName(name, id string) (string, error) {
	if name != "" {
		if err := validName(name); err != nil {
			return "", err
		}
		return name, e.claimGivenName(name, id)
	}
	for try := 0; ; try++ {
		name = randomName()
		if try > 5 {
			name += fmt.Sprint(mathrand.IntN(1000))
		}
		err := state.Claim(e.nameFile(name), id)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
}

func (e *Engine) claimGivenName(name, id string) error {
	err := state.Claim(e.nameFile(name), id)
	var taken *state.Taken
	if !errors.As(err, &taken) {
		return err
	}
	if e.isGone(taken.Owner) {
		// Left over from a removal that was cut short: the directory is made before the name is claimed.
		if err := state.Unclaim(taken.Path, taken.Owner); err != nil {
			return err
		}
		return e.claimGivenName(name, id)
	}
	return fmt.Errorf("conflict: the container name %q is already in use by container %s; remove it (mydocker rm %s), rename it, or use another --name",
		name, ShortID(taken.Owner), name)
}

// isGone says whether there is nothing left of a container. One that is just being removed is in no list any more, so whoever wants its
// name waits for it: ten seconds, for its remover may have been killed, and then gc ends it. One without a definition may also be one
// that is just being made, or whose making was cut short.
func (e *Engine) isGone(id string) bool {
	for try := range 1000 {
		if _, err := os.Stat(e.Root.Container(id)); errors.Is(err, fs.ErrNotExist) {
			return true
		}
		if _, err := os.Stat(e.path(id, definitionFile)); err == nil {
			return false
		}
		if _, err := os.Stat(e.path(id, removingFile)); err != nil && try > 100 {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func randomName() string {
	first := strings.Fields(firstWords)
	second := strings.Fields(secondWords)
	return first[mathrand.IntN(len(first))] + "_" + second[mathrand.IntN(len(second))]
}

// Words for generated names: a mood, and a thing that packets meet on their way.
const (
	firstWords = `able amber ample apt bold brave breezy bright brisk calm candid careful cheerful clear clever cosy crisp curious
		daring deft eager early earnest easy fair fancy fast fine fleet fond frank free fresh gentle glad golden grand happy hardy
		honest humble jolly keen kind light lively loyal lucky mellow merry mild modest neat nimble noble patient placid plain
		polite proud prudent quick quiet rapid ready robust rosy serene sharp silent simple sincere sleek smart snug sober
		steady still stout sunny swift tender tidy trusty upbeat vivid warm wise witty zesty`
	secondWords = `anchor arch atlas badger beacon bison bridge brook canal cedar cliff comet coral crane creek delta dune eagle
		falcon ferry fjord forest fox galaxy garden geyser glacier grove harbor hare hawk heron hill island jetty kestrel lagoon lake
		lantern lark ledger lemur lighthouse lotus lynx maple marsh meadow meteor mill monsoon moose mountain nebula oak oasis
		orbit otter owl panda path pebble pine plaza pond prairie quarry quartz raven reef ridge river robin rook sail salmon
		sequoia shore spruce squid stork stream summit swan thicket tiger tower trail tulip valley viaduct violet walnut willow wren`
)

// namesOf are the names that a container has claimed. It reads all claims: for what seldom happens.
func (e *Engine) namesOf(id string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(e.nameFile("x")))
	var names []string
	for _, entry := range entries {
		if e.ownsName(entry.Name(), id) {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// Rename gives a container another name. The pinned namespace of a running one is renamed with it.
func (e *Engine) Rename(ctx context.Context, ref, name string) error {
	if err := validName(name); err != nil {
		return err
	}
	d, l, err := e.change(ref)
	if err != nil {
		return err
	}
	defer l.Release()
	if name == d.Name {
		return fmt.Errorf("renaming container %s: the new name is the old one", d.Name)
	}
	if err := e.begin(d.ID, doingRename, ""); err != nil {
		return err
	}
	old := d.Name
	if err = e.claimGivenName(name, d.ID); err == nil {
		d.Name, d.Options.Name = name, name
		err = e.renameClaimed(d, old)
	}
	if err != nil {
		return errors.Join(err, e.finished(d.ID))
	}
	e.containerEvent(d, "rename", "oldName", "/"+old)
	return errors.Join(state.Unclaim(e.nameFile(old), d.ID), e.finished(d.ID))
}

// renameClaimed gives the container its new name, or nothing.
func (e *Engine) renameClaimed(d *Definition, old string) error {
	name, moved := d.Name, false
	if e.busy(d.ID) && hasOwnSandbox(d.Options.Network) {
		err := e.networks.RenameSandbox(d.ID, name)
		if moved = err == nil; !moved && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, state.Unclaim(e.nameFile(name), d.ID))
		}
		// Else it is between two runs of a restart policy and has none; nobody starts it while we have the lock.
	}
	if err := e.writeDefinition(d); err != nil {
		if moved {
			err = errors.Join(err, e.networks.RenameSandbox(d.ID, old))
		}
		return errors.Join(err, state.Unclaim(e.nameFile(name), d.ID))
	}
	if !moved {
		return nil
	}
	ctx := context.Background()
	if _, err := e.running(d); err != nil {
		// It ended meanwhile, and who released it may have known the old name only.
		return errors.Join(e.networks.Release(ctx, d.ID), e.networks.AdoptSandbox(name, d.ID), e.networks.DeleteSandbox(name))
	}
	if err := e.networks.RenameRules(ctx, d.ID); err != nil {
		return fmt.Errorf("container %s is called %s now, but the rules of its ports are not (mydocker network sync): %w", old, name, err)
	}
	return nil
}
