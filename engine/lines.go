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

// files are the file and its rotated elders, oldest first.
func (r *follower) files() ([]string, error) {
	var files []string
	for i := 0; ; i++ {
		name := r.path
		if i > 0 {
			name = fmt.Sprintf("%s.%d", r.path, i)
		}
		switch _, err := os.Stat(name); {
		case err == nil:
			files = append([]string{name}, files...)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case i > 0: // the newest may be missing for a moment, in the middle of a rotation
			return files, nil
		}
	}
}

// openAtTail opens the file in which the --tail begins, at its place; drain goes on from there to the newest.
func (r *follower) openAtTail() error {
	files, err := r.files()
	if err != nil || len(files) == 0 {
		return err
	}
	first, offset := 0, int64(0)
	if want := r.tail; want >= 0 {
		for first = len(files) - 1; ; first-- {
			if offset, want, err = tailOffset(files[first], want); err != nil {
				return err
			}
			if want == 0 || first == 0 {
				break
			}
		}
	}
	if r.f, err = os.Open(files[first]); err != nil {
		return err
	}
	_, err = r.f.Seek(offset, io.SeekStart)
	return err
}

// tailOffset finds where the last want lines begin, and how many are still wanted from older files.
func tailOffset(name string, want int) (offset int64, rest int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
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
		successor, err := r.successor()
		if err != nil {
			return false, err
		}
		if done, err := r.readOn(); err != nil || done {
			return done, err
		}
		if successor == "" {
			if successor, err = r.successor(); err != nil || successor == "" {
				return false, err
			}
			continue // rotated while we read: once more, for what came between
		}
		f, err := os.Open(successor)
		if errors.Is(err, fs.ErrNotExist) {
			continue // rotated once more
		}
		if err != nil {
			return false, err
		}
		r.close()
		r.f = f
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

// successor is the file after the open one, or "". A file is known by its inode, because rotation renames it under us;
// if it has fallen off the end meanwhile, the oldest that is left comes next.
func (r *follower) successor() (string, error) {
	mine, err := r.f.Stat()
	if err != nil {
		return "", err
	}
	files, err := r.files()
	if err != nil || len(files) == 0 {
		return "", err
	}
	for i, name := range files {
		if st, err := os.Stat(name); err == nil && os.SameFile(mine, st) {
			if i == len(files)-1 {
				return "", nil
			}
			return files[i+1], nil
		}
	}
	return files[0], nil
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
