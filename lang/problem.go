package lang

import "errors"

// Problem is an error that can be said in each language: a key of the catalogue and its placeholders.
type Problem struct {
	key    string
	values []any
	cause  error
}

// Errorf makes one. cause, which may be nil, is for errors.Is; the text says all there is to be said.
func Errorf(cause error, key string, placeholders ...any) *Problem {
	return &Problem{key, placeholders, cause}
}

// Error is the text in English.
func (p *Problem) Error() string {
	c, err := Open(English)
	if err != nil {
		return p.key
	}
	return c.Text(p.key, p.values...)
}

func (p *Problem) Unwrap() error { return p.cause }

// said is a problem in a language that was chosen.
type said struct {
	text string
	*Problem
}

func (s said) Error() string { return s.text }

// Error says an error in the catalogue's language, if it is one that can be said so, and leaves others as they are.
func (c *Catalogue) Error(err error) error {
	p, ok := err.(*Problem) //nolint:errorlint // what wraps one has more to say than its text
	if !ok {
		return err
	}
	return said{c.Text(p.key, p.values...), p}
}

// Said tells whether an error is in the user's language already.
func Said(err error) bool {
	var s said
	return errors.As(err, &s)
}
