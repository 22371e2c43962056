package container

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mydocker/mydocker/container/seccomp"
	"github.com/mydocker/mydocker/state"
)

// filterDir holds compiled system call filters, each under the hash of its profile: compiling takes ten times as long as
// reading. No container can have this name.
const filterDir = "@seccomp"

// compilerEdition goes up with each change of the compiler or of its tables, so that no filter of an older program is taken.
const compilerEdition = "2"

// filter gives the compiled form of a profile, and the name under which exec will find it again.
func (r *Runtime) filter(p *specs.LinuxSeccomp) (name string, f *seccomp.Filter, err error) {
	if unconfined(p) {
		return "", nil, nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(append(text, compilerEdition...))
	name = hex.EncodeToString(sum[:])
	f, err = r.loadFilter(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return name, f, err
	}
	if f, err = seccomp.Compile(p); err != nil {
		return "", nil, err
	}
	data := append(binary.LittleEndian.AppendUint64(nil, f.Flags), f.Code...)
	return name, f, state.Replace(filepath.Join(r.Root, filterDir, name), data, state.Volatile)
}

// loadFilter reads a compiled filter. No name is no filter.
func (r *Runtime) loadFilter(name string) (*seccomp.Filter, error) {
	if name == "" {
		return nil, nil
	}
	path := filepath.Join(r.Root, filterDir, name)
	data, err := state.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) < 16 || len(data)%8 != 0 {
		return nil, fmt.Errorf("compiled filter %s is damaged: remove it", path)
	}
	return &seccomp.Filter{Flags: binary.LittleEndian.Uint64(data), Code: data[8:]}, nil
}
