package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A follower reads the lines of a file that grows and is rotated (FILE, FILE.1, FILE.2 …, the newest first): a container's
// log, or the events.
type follower struct {
	path string
	tail int // how many of the last lines to begin with; -1 means all
	// line takes one line with its end; done says that no more are wanted.
	line func(line []byte) (done bool, err error)

	inotify int // 0: not watching
	f       *os.File
	rest    []byte // of a line whose end is not written yet
}

// follow reads what is there, and then what comes for as long as more says so; a nil more means only what is there.
func (r *follower) follow(ctx context.Context, more func() bool) error {
	if more != nil {
		if err := r.watch(); err != nil {
			return err
		}
		defer unix.Close(r.inotify)
	}
	if err := r.openAtTail(); err != nil {
		return err
	}
	defer r.close()
	for {
		// Asked before reading: what was written before the end is then surely read.
		goOn := more != nil && more()
		if done, err := r.drain(); err != nil || done {
			return err
		}
		if !goOn {
			return nil
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
}

// generation is one of the files: rotation changes its name, never what it is.
type generation struct {
	name string
	info fs.FileInfo
}

// files are the file and its rotated elders, oldest first. A writer may rename them while we look, so it is looked until twice
// the same is seen; in the middle of a rotation one number, or the newest, may be missing.
func (r *follower) files() ([]generation, error) {
	before, err := r.scan()
	for try := 0; err == nil && try < 1000; try++ {
		var again []generation
		if again, err = r.scan(); err != nil || slices.EqualFunc(before, again, func(a, b generation) bool {
			return a.name == b.name && os.SameFile(a.info, b.info)
		}) {
			return again, err
		}
		before = again
		time.Sleep(50 * time.Microsecond)
	}
	return before, err
}

func (r *follower) scan() ([]generation, error) {
	dir, base := filepath.Split(r.path)
	names, err := readNames(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the container is removed: what is open is all that there is
	}
	if err != nil {
		return nil, err
	}
	var files []generation
	number := map[string]int{}
	for _, name := range names {
		rest, mine := strings.CutPrefix(name, base)
		if !mine {
			continue
		}
		n := 0
		if rest != "" {
			if n, err = strconv.Atoi(strings.TrimPrefix(rest, ".")); err != nil || n < 1 {
				continue // somebody else's
			}
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // renamed since; the next look shows it
		}
		if err != nil {
			return nil, err
		}
		number[name] = n
		files = append(files, generation{name, info})
	}
	slices.SortFunc(files, func(a, b generation) int { return number[b.name] - number[a.name] })
	for i := range files {
		files[i].name = filepath.Join(dir, files[i].name)
	}
	return files, nil
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// open opens one of the files if its name still means it; nil if it has been renamed since.
func (g generation) open() (*os.File, error) {
	f, err := os.Open(g.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !os.SameFile(st, g.info) {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// openAtTail opens the file in which the --tail begins, at its place; drain goes on from there to the newest.
func (r *follower) openAtTail() error {
	for {
		files, err := r.files()
		if err != nil || len(files) == 0 {
			return err
		}
		want, offset := r.tail, int64(0)
		for i := len(files) - 1; i >= 0; i-- {
			if want < 0 {
				i = 0 // all: from the oldest on
			}
			if r.f, err = files[i].open(); err != nil {
				return err
			}
			if r.f == nil {
				break // rotated meanwhile: look again
			}
			if want >= 0 {
				if offset, want, err = tailOffset(r.f, want); err != nil {
					return err
				}
			}
			if want <= 0 || i == 0 {
				_, err = r.f.Seek(offset, io.SeekStart)
				return err
			}
			r.close()
		}
	}
}

// tailOffset finds where the last want lines begin, and how many are still wanted from older files.
func tailOffset(f *os.File, want int) (offset int64, rest int, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if want == 0 {
		return st.Size(), 0, nil
	}
	buf := make([]byte, 64<<10)
	for pos := st.Size(); pos > 0; {
		n := min(int64(len(buf)), pos)
		pos -= n
		if _, err := f.ReadAt(buf[:n], pos); err != nil && err != io.EOF {
			return 0, 0, err
		}
		for i := n - 1; i >= 0; i-- {
			if buf[i] != '\n' || pos+i == st.Size()-1 {
				continue
			}
			if want--; want == 0 {
				return pos + i + 1, 0, nil
			}
		}
	}
	if st.Size() > 0 {
		want--
	}
	return 0, want, nil
}

func (r *follower) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// drain writes all whole lines that are there now; done says that no more are wanted.
func (r *follower) drain() (done bool, err error) {
	for {
		if r.f == nil {
			if r.f, err = os.Open(r.path); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return false, nil
				}
				return false, err
			}
		}
		// Asked before reading: a file that has a successor is not written to any more.
		next, err := r.successor()
		if err != nil {
			return false, err
		}
		if done, err := r.readOn(); err != nil || done {
			return done, err
		}
		if next == nil {
			if next, err = r.successor(); err != nil || next == nil {
				return false, err
			}
			continue // rotated while we read: once more, for what came between
		}
		f, err := next.open()
		if err != nil {
			return false, err
		}
		if f != nil { // else it was rotated once more: ask again who comes next
			r.close()
			r.f = f
		}
	}
}

// readOn emits whole lines up to the end of the open file.
func (r *follower) readOn() (done bool, err error) {
	scan := bufio.NewReaderSize(r.f, 256<<10)
	for {
		line, err := scan.ReadSlice('\n')
		if len(r.rest) > 0 || err != nil {
			r.rest = append(r.rest, line...)
			line = r.rest
		}
		switch err {
		case nil:
		case bufio.ErrBufferFull:
			continue
		case io.EOF:
			return false, nil
		default:
			return false, err
		}
		done, err := r.line(line)
		r.rest = r.rest[:0]
		if done || err != nil {
			return done, err
		}
	}
}

// successor is the file after the open one, or nil. A file is known by its inode, because rotation renames it under us; if it
// has fallen off the end meanwhile, the oldest that is left comes next.
func (r *follower) successor() (*generation, error) {
	mine, err := r.f.Stat()
	if err != nil {
		return nil, err
	}
	files, err := r.files()
	if err != nil || len(files) == 0 {
		return nil, err
	}
	for i, g := range files {
		if os.SameFile(mine, g.info) {
			if i == len(files)-1 {
				return nil, nil
			}
			return &files[i+1], nil
		}
	}
	return &files[0], nil
}

// watch asks the kernel to tell when the directory changes.
func (r *follower) watch() (err error) {
	if r.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		return fmt.Errorf("follow %s: %w", r.path, err)
	}
	_, err = unix.InotifyAddWatch(r.inotify, filepath.Dir(r.path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE_SELF)
	if err != nil {
		return fmt.Errorf("follow %s: %w", r.path, err)
	}
	return nil
}

// wait returns when the file may have grown, or after a while, because a container that ends says nothing more.
func (r *follower) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(r.inotify), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 200); err != nil && err != unix.EINTR {
		return err
	}
	var buf [4096]byte
	for {
		if n, err := unix.Read(r.inotify, buf[:]); n <= 0 || err != nil {
			return nil
		}
	}
}
