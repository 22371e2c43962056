package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

type logLine struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// Logs writes what the container has said, oldest first, and with Follow what it says until it ends.
func (e *Engine) Logs(ctx context.Context, ref string, o LogOptions) error {
	d, err := e.Find(ref)
	if err != nil {
		return err
	}
	if d.Options.LogDriver == "none" {
		return fmt.Errorf("container %s was started with --log-driver none: nothing of its output was kept", d.Name)
	}
	r := &logReader{path: e.path(d.ID, logFile), opts: o}
	if o.Follow {
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
		running := o.Follow && e.busy(d.ID)
		if done, err := r.drain(); err != nil || done {
			return err
		}
		if !running {
			return nil
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
}

type logReader struct {
	path    string
	opts    LogOptions
	inotify int
	f       *os.File
	rest    []byte
}

// files are the log's files, oldest first.
func (r *logReader) files() ([]string, error) {
	var files []string
	for i := 0; ; i++ {
		name := r.path
		if i > 0 {
			name = fmt.Sprintf("%s.%d", r.path, i)
		}
		if _, err := os.Stat(name); err != nil {
			if errors.Is(err, fs.ErrNotExist) && i > 0 {
				return files, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		files = append([]string{name}, files...)
	}
}

// openAtTail writes the rotated files and opens the current one, beginning at the --tail.
func (r *logReader) openAtTail() error {
	files, err := r.files()
	if err != nil {
		return err
	}
	skip := make(map[string]int64, len(files))
	if want := r.opts.Tail; want >= 0 {
		for i := len(files) - 1; i >= 0; i-- {
			var offset int64
			if offset, want, err = tailOffset(files[i], want); err != nil {
				return err
			}
			skip[files[i]] = offset
		}
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if _, err := f.Seek(skip[name], io.SeekStart); err != nil {
			return errors.Join(err, f.Close())
		}
		r.f = f
		if name == r.path {
			return nil
		}
		if done, err := r.drain(); err != nil || done {
			r.opts.Tail = 0
			return err
		}
		r.close()
	}
	return nil
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

func (r *logReader) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// drain writes all whole lines that are there now; done says that --until is passed.
func (r *logReader) drain() (done bool, err error) {
	for {
		if r.f == nil {
			if r.f, err = os.Open(r.path); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return false, nil
				}
				return false, err
			}
		}
		scan := bufio.NewReaderSize(r.f, 256<<10)
		for {
			line, err := scan.ReadSlice('\n')
			if len(r.rest) > 0 || err != nil {
				r.rest = append(r.rest, line...)
				line = r.rest
			}
			if err == bufio.ErrBufferFull {
				continue
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return false, err
			}
			done, werr := r.emit(line)
			r.rest = r.rest[:0]
			if done || werr != nil {
				return done, werr
			}
		}
		// The file may have been rotated away under us: then go on with the new one.
		same, err := r.isCurrent()
		if err != nil || same {
			return false, err
		}
		r.close()
	}
}

func (r *logReader) isCurrent() (bool, error) {
	mine, err := r.f.Stat()
	if err != nil {
		return false, err
	}
	current, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && os.SameFile(mine, current), err
}

func (r *logReader) emit(line []byte) (done bool, err error) {
	if len(bytes.TrimSpace(line)) == 0 {
		return false, nil
	}
	var l logLine
	if err := json.Unmarshal(line, &l); err != nil {
		return false, fmt.Errorf("log %s is damaged: %w", r.path, err)
	}
	if !r.opts.Until.IsZero() && l.Time.After(r.opts.Until) {
		return true, nil
	}
	if !r.opts.Since.IsZero() && l.Time.Before(r.opts.Since) {
		return false, nil
	}
	w := r.opts.Stdout
	if l.Stream == "stderr" {
		w = r.opts.Stderr
	}
	if w == nil {
		return false, nil
	}
	text := l.Log
	if r.opts.Timestamps {
		text = l.Time.Format("2006-01-02T15:04:05.000000000Z07:00") + " " + text
	}
	_, err = io.WriteString(w, text)
	return false, err
}

// watch asks the kernel to tell when the log's directory changes.
func (r *logReader) watch() (err error) {
	if r.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		return fmt.Errorf("follow %s: %w", r.path, err)
	}
	_, err = unix.InotifyAddWatch(r.inotify, filepath.Dir(r.path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE_SELF)
	if err != nil {
		return fmt.Errorf("follow %s: %w", r.path, err)
	}
	return nil
}

// wait returns when the log may have grown, or after a while, because a container that ends says nothing more.
func (r *logReader) wait(ctx context.Context) error {
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
