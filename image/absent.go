package image

import "io/fs"

// absent is an error that says what is not there in words of its own; it is an fs.ErrNotExist without that one's text.
type absent string

func (a absent) Error() string      { return string(a) }
func (absent) Is(target error) bool { return target == fs.ErrNotExist }
