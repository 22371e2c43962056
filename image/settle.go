package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// An image can be used long before it is on the disk: what was written is in the kernel's memory, where everybody sees it, and
// the disk is a hundred times slower. Only when the power fails does it matter. So whoever adds an image does not wait:
//
//	added     its record says in which boot it was written:    ids/<id>.json   "boot": "4e9f…"
//	settled   sync -f LIB, and then the record without that:   ids/<id>.json
//
// A record without a boot is proof that all of its image is on the disk. One with this boot's is as good: the kernel has not
// been started anew since. One with another boot's proves nothing; powercut.go has what is done then.

// bootFile has another content after each start of the kernel: random(4).
const bootFile = "/proc/sys/kernel/random/boot_id"

func readBootID() (string, error) {
	data, err := os.ReadFile(bootFile)
	if err != nil {
		return "", fmt.Errorf("ask in which boot of the machine this is: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// Settle puts on the disk what came into the store in this boot. It takes as long as the disk does; nobody waits for it.
func (s *Store) Settle() error {
	boot, err := s.boot()
	if err != nil {
		return err
	}
	records, err := s.readRecords()
	if err != nil {
		return err
	}
	var waiting []*record
	for _, r := range records {
		if r.Boot == boot {
			waiting = append(waiting, r)
		}
	}
	return s.settle(waiting)
}

// settle syncs, and then writes into records that they have settled.
func (s *Store) settle(records []*record) error {
	if len(records) == 0 {
		return nil
	}
	if err := s.sync(); err != nil {
		return err
	}
	lock, err := s.lockIndex()
	if err != nil {
		return err
	}
	defer lock.Release()
	var errs []error
	for _, r := range records {
		now, err := s.readRecord(s.idPath(r.ID), r.ID.Short())
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
		case err != nil:
			errs = append(errs, err)
		case now.Boot == r.Boot && now.Stored.Equal(r.Stored): // else it was stored anew since we synced
			now.Boot = ""
			errs = append(errs, state.ReplaceJSON(s.idPath(r.ID), now, state.Durable))
		}
	}
	return errors.Join(errs...)
}

// sync is sync -f LIB/images LIB/layers, which may be on two file systems.
func (s *Store) sync() error {
	for _, dir := range []string{s.images(), s.layers()} {
		f, err := os.Open(dir)
		if err == nil {
			err = errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
		}
		if err != nil {
			return fmt.Errorf("write the images to the disk: %w", err)
		}
	}
	return nil
}
