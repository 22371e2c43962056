package network

import (
	"fmt"
	"io/fs"
)

// told is an error whose sentence says it all, and which is nevertheless of a kind that can be asked for: with %w the sentence would
// end in "file already exists", said of something that is no file.
type told struct {
	text string
	kind error
}

func (e *told) Error() string        { return e.text }
func (e *told) Is(target error) bool { return target == e.kind }

// exists is an fs.ErrExist.
func exists(format string, args ...any) error {
	return &told{fmt.Sprintf(format, args...), fs.ErrExist}
}

// absent is an fs.ErrNotExist.
func absent(format string, args ...any) error {
	return &told{fmt.Sprintf(format, args...), fs.ErrNotExist}
}
